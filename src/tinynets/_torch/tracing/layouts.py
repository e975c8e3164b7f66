"""The memory layout of a tensor in a word (`contiguous`, `channels_last`, `strided`, sparse ones), from its
strides, without tying symbolic sizes to numbers; and empty tensors of that layout.

`tensor.is_contiguous()` is the public way, but it ties symbolic sizes to numbers.
"""

# Symbols of torch have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any

import torch

from .shape_environment import equal_at_all_sizes, expression_of

_CHANNELS_LAST = {4: ("channels_last", (0, 2, 3, 1)), 5: ("channels_last_3d", (0, 2, 3, 4, 1))}


def layout_of(tensor: torch.Tensor) -> str:
    """Return `contiguous`, `channels_last`, `channels_last_3d`, `strided`, or the name of a sparse layout."""
    if tensor.layout is not torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    with torch._C.DisableTorchFunction():  # pyright: ignore[reportPrivateUsage]  # not a read by the model
        shape, strides = [expression_of(s) for s in tensor.shape], [expression_of(s) for s in tensor.stride()]
    if _nested(shape, strides, tuple(range(len(shape)))):
        return "contiguous"
    name, order = _CHANNELS_LAST.get(len(shape), ("", ()))
    return name if name and _nested(shape, strides, order) else "strided"


def _nested(shape: list[Any], strides: list[Any], order: tuple[int, ...]) -> bool:
    """Return whether the stride of each axis in `order` equals the number of elements of the later axes."""
    step: Any = 1
    for place, axis in reversed(list(enumerate(order))):
        if shape[axis] == 1:
            continue  # its stride is never used
        if not equal_at_all_sizes(strides[axis], step):
            return False
        step = shape[axis] * step if place else step
    return True


def empty_like_strides(shape: list[Any], tensor: torch.Tensor) -> torch.Tensor:
    """Return an empty tensor of a (partly symbolic) shape with the memory layout of another tensor."""
    options: dict[str, Any] = {"dtype": tensor.dtype, "device": tensor.device}
    if tensor.device.type == "meta":
        options["device"] = "cpu"
    strides = tensor.stride() if tensor.layout is torch.strided else ()
    order = sorted(range(len(strides)), key=lambda axis: (-strides[axis], axis))
    if _nested(list(tensor.shape), list(strides), tuple(order)):  # dense: allocate in memory order, permute
        made = torch.empty([shape[axis] for axis in order], **options)
        return made.permute([order.index(axis) for axis in range(len(order))])
    if strides:
        return torch.empty_strided(shape, strides, **options)
    return torch.empty(shape, **options)
