"""Operators: their packet, whether they decompose or write to their arguments, and their fastest binding.

`torch.utils.flop_counter` is the public example of a `TorchDispatchMode`, which sees every operation below
autograd; it is built on the same names. Should torch change them, `tinynets.explain` fails here, and
`device.move` could not refuse operations on two devices where there is only a CPU.

An operator of `torch.ops` is called through a Python dispatcher, in 2 us; most have a C binding that accepts
the same arguments, in 0.5 us. If torch drops a binding, the operator itself is called.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode

_HOMES: tuple[Any, ...] = (torch._C._nn, torch._C._VariableFunctions, torch.Tensor)
# Overloads whose binding accepts the positional arguments of the schema.
_OVERLOADS = frozenset(
    ("default", "Tensor", "Scalar", "int", "dim", "using_ints", "dtype", "dim_IntList", "Tensor_Scalar")
)


def packet_of(operator: Any) -> Any:
    """Return the packet of all overloads of an operator, or None for a higher-order operator."""
    return getattr(operator, "_overloadpacket", None)


def can_decompose(operator: Any) -> bool:
    """Return whether an operator can be decomposed into others."""
    return operator.namespace != "prim" and operator._can_decompose()


def is_mutable(operator: Any) -> bool:
    """Return whether an operator writes to its arguments."""
    return operator._schema.is_mutable


def takes_apart_symbolic_axis(operator: Any, args: tuple[Any, ...]) -> bool:
    """Return whether an operator returns one tensor for each index of an axis with a symbolic size."""
    if operator is not torch.ops.aten.unbind.int:
        return False
    values: list[Any] = [*args, 0]
    return isinstance(values[0].shape[values[1]], torch.SymInt)


def is_operator(target: object) -> bool:
    """Return whether a node of a graph calls an operator, rather than a function on sizes."""
    return isinstance(target, OpOverload)


def packet_name(target: Any) -> str:
    """Return the name of an operator without its overload: `aten.relu`."""
    return f"{target.namespace}.{target._schema.name.partition('::')[2]}"


def binding(target: Any, *, in_place: bool = False) -> tuple[str, Callable[..., Any]]:
    """Return a name for an operator, and the fastest function that computes the same.

    The variant `in_place` writes its result into its first argument.
    """
    name = target._schema.name.partition("::")[2] + ("_" if in_place else "")
    if target.namespace == "aten" and target._overloadname in _OVERLOADS:
        for home in _HOMES:
            function = getattr(home, name, None)
            # A Python function differs from the operator: `Tensor.index` is about named dimensions.
            if callable(function) and not isinstance(function, FunctionType):
                return name, function
    if in_place:
        return name, getattr(getattr(torch.ops.aten, name), target._overloadname)
    return f"{name}_{target._overloadname}", target


def writes(target: Any) -> list[int]:
    """Return the positions of the arguments that an operator writes to."""
    arguments = target._schema.arguments
    return [i for i, argument in enumerate(arguments) if argument.alias_info and argument.alias_info.is_write]


def may_alias(target: Any) -> bool:
    """Return whether an operator may return its argument, or a view of it."""
    return any(value.alias_info is not None for value in target._schema.returns)


def is_random(target: Any) -> bool:
    """Return whether an operator draws random numbers."""
    return torch.Tag.nondeterministic_seeded in target.tags
