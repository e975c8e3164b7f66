"""What is asked about the modules of a model while it runs: their functions, their kind, their names."""

# The tables of an nn.Module are private, and typed with Any.
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any, cast

from torch import nn


def functions_of(kind: type, module: nn.Module) -> Iterator[CodeType]:
    """The functions of a module whose frames are of interest: all of a user's class, `forward` of torch's."""
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
    """Whether a function only calls the items of its module, one after the other."""
    return isinstance(owner, nn.Sequential) and code is nn.Sequential.forward.__code__


def is_leaf(owner: nn.Module) -> bool:
    """Whether a module is one of torch's own layers, whose inside nobody wants to see."""
    own = type(owner).__module__.startswith(("torch.nn.", "torch.ao."))
    return own and (isinstance(owner, nn.MultiheadAttention) or next(owner.children(), None) is None)


def item_code(path: str, owner: nn.Module) -> str:
    """Write what stands for the line that calls an item of a container: `(0): Linear(...)`."""
    return f"({path.rpartition('.')[2]}): {summary(owner)}"


def summary(module: nn.Module) -> str:
    """Write a module as short as it goes: its class, and its settings if it has no children."""
    with contextlib.suppress(Exception):  # a user's extra_repr may do anything
        if next(module.children(), None) is None:
            return f"{type(module).__name__}({module.extra_repr()})"
    return type(module).__name__


def look_up(name: str, local: dict[str, Any]) -> Any:
    """Follow a dotted name through plain attributes; None where it leads nowhere."""
    first, *rest = name.split(".")
    value = local.get(first) if first.isidentifier() else None
    for part in rest:
        if not isinstance(value, nn.Module):
            return None
        tables = (vars(value), value._parameters, value._buffers, value._modules)
        value = next(
            (table[part] for table in cast("tuple[dict[str, Any], ...]", tables) if part in table), None
        )
    return value
