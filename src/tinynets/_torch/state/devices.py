"""The device on which tensors are created, and memory on it for layers that were built on meta."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def default_device() -> torch.device:
    """Return `torch.get_default_device()`, which fails up to torch 2.9 after `set_default_device(None)`."""
    try:
        return torch.get_default_device()
    except AttributeError:
        return torch.device("cpu")


def to_empty_(module: nn.Module, device: torch.device | None = None) -> None:
    """Replace all parameters and buffers with uninitialised ones on a device, by default the current one.

    Like `module.to_empty`, which fails if the tensors are fake (`FakeTensorMode`).
    """
    device = device or default_device()
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            part.register_parameter(name, nn.Parameter(_empty(parameter, device), parameter.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, _empty(buffer, device))


def _empty(like: Tensor, device: torch.device) -> Tensor:
    # Not `empty_like`, which is Python code for a meta tensor and imports sympy: a third of a second.
    return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=device)
