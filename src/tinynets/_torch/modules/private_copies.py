"""Private copies of a model, so that explaining it does not change the user's model."""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch
from torch import nn

from ..tracing.fake_tensors import FakeTensorMode, copying_to_fake, fake_like
from .module_copies import shallow_copy


def fake_copy(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Return a copy of a model whose tensors have no values; meta tensors count as CPU tensors."""
    with mode, torch.inference_mode(False):
        tensors = [*model.parameters(), *model.buffers()]
        return _copied(
            model, {id(tensor): fake_like(tensor, mode) for tensor in tensors}, copying_to_fake(mode)
        )


def real_copy(model: nn.Module) -> nn.Module:
    """Return a copy that shares the parameters and has copies of the buffers."""
    shared: dict[int, torch.Tensor] = {id(parameter): parameter for parameter in model.parameters()}
    return _copied(model, shared, contextlib.nullcontext())


def _copied(model: nn.Module, tensors: dict[int, torch.Tensor], mode: Any) -> nn.Module:
    try:
        with mode:
            return copy.deepcopy(model, dict(tensors))
    except Exception:  # an attribute that cannot be copied, such as a lock or an open file
        return shallow_copy(model, tensors)
