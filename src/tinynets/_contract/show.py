"""The text of `tinynets show`: checked functions as Python source, with the guards' constants and the lines
`# not checked: ...` and `# no usable source: ...`.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any, cast

import torch

from .builder import RUNTIME, FunctionBuilder
from .codegen.annotated_lines import innermost
from .contract import builder_of, contract_of
from .descriptors import functions_of


def show(target: Any) -> str:
    """Return the checked functions of a target as Python source.

    Args:
        target: a function decorated with `contract`, or a class or instance with enforced methods.

    Raises:
        ValueError: nothing in the target is checked, or its file no longer compiles to the code that runs.
    """
    functions = list(_checked_functions(target))
    if not functions:
        name = getattr(target, "__qualname__", type(target).__qualname__)
        raise ValueError(f"{name} has no checked function: annotate it, and subclass Module or use @contract")
    return "\n\n".join(map(_show_function, functions))


def _checked_functions(target: Any) -> Iterator[FunctionType]:
    """Yield the functions that contain the checks, without the decorators around them."""
    members = [target]
    if not inspect.isroutine(target):
        kind: type = target if isinstance(target, type) else type(target)
        names = dict.fromkeys(name for base in reversed(kind.__mro__) for name in vars(base))
        members = [inspect.getattr_static(kind, name) for name in names]
    for member in members:
        for function in functions_of(getattr(member, "__func__", member)):  # unwrap a bound method
            if contract_of(function):
                yield innermost(function)


def _show_function(function: FunctionType) -> str:
    builder = cast(FunctionBuilder, builder_of(function))
    rewritten = builder.rewrite()
    if builder.compile(rewritten) != function.__code__:
        raise ValueError(f"{builder.name} cannot be shown: its file was changed after it was imported")
    code = builder.function.__code__
    lines = [f"# {builder.name}, {os.path.basename(code.co_filename)}:{code.co_firstlineno}"]
    if rewritten.without_source:
        lines.append(f"# no usable source: {rewritten.without_source}")
    lines += [f"# not checked: {name}: {_hint_text(hint)}" for name, hint in rewritten.unchecked]
    constants = rewritten.constants.items()
    lines += [f"# {name} = {_constant_text(value)}" for name, value in constants if name not in RUNTIME]
    return "\n".join([*lines, ast.unparse(rewritten.node), ""])


def _constant_text(value: Any) -> str:
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(str, cast("frozenset[torch.dtype]", value)))) + "}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant_text, cast('tuple[Any, ...]', value)))})"
    if isinstance(value, type | FunctionType):
        return f"{value.__module__}.{value.__qualname__}".removeprefix("builtins.")
    return str(value)


def _hint_text(hint: Any) -> str:
    text = hint.__qualname__ if isinstance(hint, type) else str(hint)
    return re.sub(r"\b(collections\.abc|jaxtyping|typing)\.", "", text)
