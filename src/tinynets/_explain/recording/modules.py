"""Modules of a running model: which functions are traced, which layers are one line, the kernel size of a
convolution or pooling, and how a module and the operands of a failing line are written.
"""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

import ast
import contextlib
import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any, cast

from torch import nn

from ..._torch.modules.module_copies import attribute_of
from .events import is_tensor, raw, tensors_in


def functions_of(kind: type, module: nn.Module) -> Iterator[CodeType]:
    """Yield the functions of a module to trace: all of a user's class, only `forward` of a torch class."""
    for base in kind.__mro__:
        if base is nn.Module:
            break
        torch_own = base.__module__.startswith("torch.")
        for name, member in vars(base).items():
            if isinstance(member, FunctionType) and (
                name == "forward" or not (torch_own or name[:2] == "__")
            ):
                yield inspect.unwrap(member).__code__
                yield member.__code__
    own = vars(module).get("forward")
    while isinstance(own, functools.partial):
        own = cast("functools.partial[Any]", own).func
    function = getattr(own, "__func__", own)
    if isinstance(function, FunctionType):
        yield function.__code__


def is_container(owner: Any, code: CodeType) -> bool:
    """Return whether a function only calls the items of its module, one after the other."""
    return isinstance(owner, nn.Sequential) and code is nn.Sequential.forward.__code__


def is_leaf(owner: nn.Module) -> bool:
    """Return whether a module is one of torch's own layers, which are not traced inside."""
    own = type(owner).__module__.startswith(("torch.nn.", "torch.ao."))
    return own and (isinstance(owner, nn.MultiheadAttention) or next(owner.children(), None) is None)


def kernel_size(module: nn.Module) -> tuple[int, ...]:
    """Return the window size of one of torch's convolutions or poolings, else `()`."""
    found: Any = vars(module).get("kernel_size", ()) if is_leaf(module) else ()
    if isinstance(found, int):
        name = type(module).__name__  # poolings accept 2 for (2, 2)
        return (found,) * (int(name[-2]) if name[-2:] in ("1d", "2d", "3d") else 1)
    return cast("tuple[int, ...]", found) if isinstance(found, tuple) else ()


def item_code(path: str, owner: nn.Module) -> str:
    """Return the code shown for an item of a container: `(0): Linear(...)`."""
    return f"({path.rpartition('.')[2]}): {summary(owner)}"


def summary(module: nn.Module) -> str:
    """Return the class of a module, with its settings if it has no children."""
    with contextlib.suppress(Exception):  # a user's extra_repr may do anything
        if next(module.children(), None) is None:
            return f"{type(module).__name__}({module.extra_repr()})"
    return type(module).__name__


def look_up(name: str, local: dict[str, Any]) -> Any:
    """Return the value of a dotted name, following plain attributes only; None if there is none."""
    first, *rest = name.split(".")
    value = local.get(first) if first.isidentifier() else None
    for part in rest:
        if not isinstance(value, nn.Module):
            return None
        value = attribute_of(value, part)
    return value


def operands_of(statement: ast.stmt, local: dict[str, Any]) -> list[tuple[str, Any]]:
    """Describe the tensors and modules that a statement names."""
    found: dict[str, Any] = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = ast.unparse(node)
            value = look_up(name, local)
            if isinstance(value, nn.Module) and name != "self":
                found[name] = summary(value)
            elif is_tensor(value):
                found.update((name + label, raw(name + label, tensor)) for label, tensor in tensors_in(value))
    return list(found.items())
