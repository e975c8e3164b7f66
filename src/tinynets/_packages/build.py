"""Build the checked version of an armed function, in place: the object stays, its code changes."""

from __future__ import annotations

import ast
import copy
import gc
from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

from .._contract.annotations.class_scope import NO_CLASS
from .._contract.annotations.resolve_names import NameResolver
from .._contract.builder import FunctionBuilder
from .._contract.codegen.source import compile_function
from .._contract.codegen.syntax import FunctionNode
from .._contract.runtime import FunctionContract
from .arm import armed_inside
from .lenient import Lenient, Skipped

_CONTRACT = "_tn_contract"


def build(
    function: FunctionType,
    source: list[str],
    line: int,
    file: str,
    skip: Callable[[Skipped], None],
    *,
    plain: bool,
    at_definition: bool,
    label: str = "",
) -> int:
    """Give a function its checks, or its own code again where it has no tensor annotations.

    What the checks refer to become globals of the module: new code must have the free variables of the old.

    Args:
        function: the function.
        source: the lines of its `def`.
        line: the number of the first of them.
        file: that of the function.
        skip: is told what cannot be enforced.
        plain: check also hints without tensors.
        at_definition: whether the code around the definition is running.
        label: tells the globals of this function from those of others; its line if empty.

    Returns:
        The number of its checks.
    """
    collecting = gc.isenabled()
    gc.disable()  # see `enforce`
    try:
        node, text = original_source(function, source, line)
        names = NameResolver(function.__globals__, function, at_definition=at_definition)
        builder = FunctionBuilder(
            function,
            contract=None,
            scope=NO_CLASS,
            check_mode=None,
            overridden=None,
            decorated=True,
            policy=Lenient(file, line, skip, plain=plain),
            names=names,
            source=(node, text),
        )
        rewritten = builder.rewrite()
        names.release_scope()
        if not rewritten.sites:
            return 0
        record = FunctionContract(
            function, builder.place(rewritten), NO_CLASS, rewritten.sites, policy=builder.policy
        )
        code = compile_function(rewritten.node, function)
        new_names = _as_globals(function, {**rewritten.constants, _CONTRACT: record}, label or str(line))
        function.__code__ = code.replace(co_names=tuple(new_names.get(n, n) for n in code.co_names))
        return len(rewritten.sites)
    finally:
        if collecting:
            gc.enable()


def original_source(function: FunctionType, source: list[str], line: int) -> tuple[FunctionNode, str]:
    """Give a function its own code again; return its definition, with what is inside armed, and its text."""
    node = _parse(source, line)
    text = "".join(source)
    if "def " in text[text.index("def ") + 4 :]:
        node = armed_inside(node)
    function.__code__ = compile_function(node, function)
    return copy.copy(node), text


def _parse(source: list[str], line: int) -> FunctionNode:
    """Parse the lines of one definition, at the place that they have in the file."""
    if source[0][:1].isspace():
        tree = ast.parse("if 1:\n" + "".join(source))
        node = cast("ast.If", tree.body[0]).body[0]
        ast.increment_lineno(node, line - 2)
    else:
        node = ast.parse("".join(source)).body[0]
        ast.increment_lineno(node, line - 1)
    return cast("FunctionNode", node)


def _as_globals(function: FunctionType, values: dict[str, Any], label: str) -> dict[str, str]:
    """Set globals, of other names where they are taken by other values; return the new names."""
    module, renamed = function.__globals__, dict[str, str]()
    for name, value in values.items():
        unique = f"{name}_{label}" if name == _CONTRACT else name
        while module.setdefault(unique, value) is not value:
            unique = f"{unique}_" if unique != name else f"{name}_{label}"
        renamed[name] = unique
    return renamed
