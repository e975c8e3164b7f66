"""Tensors with shapes but no values, with which `tn.explain` and proofs run a model, and which errors mean
that the model needs values.

`torch.device("meta")` is the public alternative, but it has no other devices and no symbolic sizes, and the
strides of its results differ from real kernels. If torch changes these names, `tinynets.explain` fails here,
except with `on="real"`.
"""

# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode as FakeTensorMode
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

_NEEDS_VALUES = (
    fake_tensor.DynamicOutputShapeException,
    fake_tensor.DataDependentOutputException,
    fake_tensor.UnsupportedFakeTensorException,
    fake_tensor.UnsupportedOperatorException,
    GuardOnDataDependentSymNode,
    NotImplementedError,
)
_SOUNDS_FAKE = ("fake", "meta", "data pointer", "symbolic", "symint", "data-dependent", "numpy", "unbacked")


def fake_mode(environment: Any) -> FakeTensorMode:
    """Return a mode in which tensors have no values, and sizes may be symbols of a shape environment."""
    return FakeTensorMode(shape_env=environment, allow_non_fake_inputs=True)


def fake_like(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    """Return a fake tensor like a real one; a meta tensor counts as a CPU tensor."""
    device = "cpu" if tensor.device.type == "meta" else tensor.device
    if tensor.layout is not torch.strided or type(tensor) not in (torch.Tensor, nn.Parameter):
        return mode.from_tensor(tensor, static_shapes=True)
    fake = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device=device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(fake, requires_grad=tensor.requires_grad)
    return fake


def copying_to_fake(mode: FakeTensorMode) -> AbstractContextManager[Any]:
    """Make `copy.deepcopy` turn tensors into fake ones."""
    return fake_tensor.FakeCopyMode(mode)


def needs_values(error: BaseException) -> bool:
    """Return whether an error says that a model reads values, or is due to fake tensors in another way."""
    text = str(error).lower()
    return isinstance(error, _NEEDS_VALUES) or any(word in text for word in _SOUNDS_FAKE)


def python_kernels() -> AbstractContextManager[Any]:
    """Prefer torch's Python kernels, which keep symbols where the C++ kernels require numbers."""
    return enable_python_dispatcher()


@contextmanager
def silent_fakes() -> Generator[None]:
    """Keep fake tensors from logging a traceback for every error of a model."""
    log = logging.getLogger(fake_tensor.__name__)
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled
