"""For which convolutions a straight line uses torch's native kernel instead of oneDNN's: one image, a window
larger than 3x3, the same bits in 8 trials, and unchanged settings.

For windows larger than 3x3, torch runs a convolution with oneDNN, which takes 40 us of preparation per call;
for smaller windows and small images, it uses its native kernel. Both may sum in the same order, for example
with one input channel. Since this also depends on the processor, it is tested at run time, for the exact
sizes.
"""

# The types of graph nodes are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .._torch.tracing.kernels import native_conv2d

_MOST_VALUES = 20480  # largest image for which torch prefers its native kernel
_TRIALS = 8


def native_arguments(node: Any) -> tuple[Any, ...] | None:
    """Return the arguments of the native kernel that replaces a convolution, or None if results may differ.

    The native kernel multiplies the padding too, so infinite weights change the result.
    """
    if node.target is not torch.ops.aten.conv2d.default or native_conv2d is None or node.kwargs:
        return None
    given: list[Any] = [*node.args, *(None, (1, 1), (0, 0), (1, 1), 1)[len(node.args) - 2 :]]
    images, weight, bias, stride, padding, dilation, groups = given
    shape, size = _fixed_shape(images), _fixed_shape(weight)
    kernel = size[2:]
    large = len(kernel) == 2 and min(kernel) > 3
    one = len(shape) == 4 and shape[0] == 1 and math.prod(shape) <= _MOST_VALUES
    if not (large and one) or groups != 1 or max(dilation) != 1:
        return None
    if weight.op != "placeholder" or not _same_bits(shape, size, bias is not None, stride, padding):
        return None
    return (images, weight, kernel, bias, stride, padding)


def _fixed_shape(node: Any) -> tuple[int, ...]:
    """Return the sizes of a contiguous float tensor on the CPU, or nothing if they are not fixed."""
    value = node.meta["val"]
    plain = value.dtype is torch.float32 and value.device.type == "cpu"
    if not plain or not all(isinstance(size, int) for size in value.shape):
        return ()
    # `is_contiguous` ignores the stride of a single channel, which torch may take for channels last.
    return tuple(value.shape) if value.stride() == torch.empty(value.shape, device="meta").stride() else ()


def twin_tests(weights: Mapping[str, Tensor], arguments: Mapping[str, Tensor]) -> list[str]:
    """Write tests of what the trials do not cover: other settings, other layouts, infinite weights."""
    return [
        *(f"{name}.stride() == {tensor.stride()}" for name, tensor in {**arguments, **weights}.items()),
        *(f"within_range({name}.detach().numpy())" for name in weights),
        "kernels() == traced_kernels",
    ]


def _same_bits(
    shape: tuple[int, ...], size: tuple[int, ...], has_bias: bool, stride: Any, padding: Any
) -> bool:
    """Compare both kernels on values of very different size, infinite and NaN, and on unaligned memory."""
    assert native_conv2d is not None
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for trial in range(_TRIALS):
            images, weight, bias = (
                _draw(one, trial % 4, generator) for one in (shape, size, (size[0] if has_bias else 0,))
            )
            if trial == _TRIALS - 1:
                images[..., 0, 0], images[..., -1, -1] = torch.inf, torch.nan
            chosen = torch.conv2d(images, weight, bias if has_bias else None, stride, padding)
            native = native_conv2d(images, weight, size[2:], bias if has_bias else None, stride, padding)
            if not bool(((chosen == native) | (chosen.isnan() & native.isnan())).all()):
                return False
    return True


def _draw(shape: tuple[int, ...], offset: int, generator: torch.Generator) -> Tensor:
    values = torch.randn(math.prod(shape) + offset, generator=generator)
    return (values * values.exp())[offset:].view(shape)
