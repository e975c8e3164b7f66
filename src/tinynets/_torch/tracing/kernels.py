"""torch's native convolution kernel, and the process-wide settings (threads, oneDNN, determinism, precision)
that may change the bits of a convolution.

`torch.conv2d` is the public way to both kernels of a convolution on the CPU, oneDNN's and the native one, but
the caller cannot choose. If torch drops the name of the native one, straight lines call `torch.conv2d`.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportAttributeAccessIssue=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

native_conv2d: Callable[..., torch.Tensor] | None = getattr(torch._C._nn, "thnn_conv2d", None)
"""`(input, weight, kernel_size, bias, stride, padding)`, for one group without dilation."""

_precision: Callable[[str, str], str] | None = getattr(torch._C, "_get_fp32_precision_getter", None)


def kernel_settings() -> tuple[Any, ...]:
    """Return the process-wide settings that may change the bits of a convolution's output."""
    precision = () if _precision is None else (_precision("mkldnn", "conv"), _precision("mkldnn", "matmul"))
    return (
        torch.get_num_threads(),
        torch._C._get_mkldnn_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.deterministic,
        torch._C._get_float32_matmul_precision(),
        *precision,
    )
