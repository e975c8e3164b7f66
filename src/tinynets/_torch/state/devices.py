"""The device on which tensors are created."""

from __future__ import annotations

import torch


def default_device() -> torch.device:
    """Return `torch.get_default_device()`, which fails up to torch 2.9 after `set_default_device(None)`."""
    try:
        return torch.get_default_device()
    except AttributeError:
        return torch.device("cpu")
