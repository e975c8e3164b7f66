"""Properties of operators: their packet, whether they decompose, and whether they write to their arguments.

`torch.utils.flop_counter` is the public example of a `TorchDispatchMode`, which sees every operation below
autograd; it is built on the same names. Should torch change them, `tinynets.explain` fails here, and
`device.move` could not refuse operations on two devices where there is only a CPU.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode


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
