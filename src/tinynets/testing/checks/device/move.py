from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...._torch.state.model_walk import unregistered_tensors
from ...._torch.tracing import pytree
from ...._torch.tracing.operators import TorchDispatchMode
from ....errors import MixedDevicesError
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import named_state, quoted, uses_rng
from ...measure.compare import Leaf, same_bits, worst

_MOVES = frozenset({"copy_", "index", "index_put", "index_put_", "_index_put_impl_"})
"""Operations that accept tensors of two devices."""


@check("device.move", Level.MUST)
def move(subject: Subject, *, tolerance: float = 1e-4) -> str | None:
    """A model that is moved to another device runs there with the same outputs, and can be moved back.

    Without CUDA the device is `meta`, which has only shapes: the check still finds tensors that stay on the
    CPU, but cannot compare values.

    Why: a tensor that stays on the CPU goes unnoticed until the model runs on a GPU.
    Fix: use `self.register_buffer(...)` for constants, and `torch.arange(n, device=x.device)` in forward.
    Declare: an exemption.
    """
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "meta")
    model, before = subject.model, {n: t.detach().cpu().clone() for n, t in named_state(subject.model)}
    model.to(device)
    everything = (*named_state(model), *unregistered_tensors(model))
    behind = [path for path, tensor in everything if tensor.device.type != device.type]
    cause = f"{quoted(behind)}: .to() does not move it" if behind else ""
    batch = subject.batch().map(lambda tensor: tensor.to(device))
    try:
        with _OneDevice(), _FullPrecision():
            found = subject.outputs(batch)
    except Failure as failure:
        if not cuda and not isinstance(failure.error, MixedDevicesError):
            raise Skip(f"there is no CUDA device, and on the meta device {failure.what}") from None
        failure.what, failure.cause = f"moved to {device.type}, {failure.what}", cause
        raise
    elsewhere = [leaf.name for leaf in found if leaf.tensor.device.type != device.type]
    if elsewhere:
        raise Failure(f"moved to {device.type}, an output is not there", where=quoted(elsewhere), cause=cause)
    if not cuda:
        return "no CUDA device here: moved to the meta device, values not compared"
    gap = worst([Leaf(leaf.path, leaf.tensor.cpu()) for leaf in found], subject.reference)
    if gap is not None and gap.error > tolerance and not uses_rng(subject):
        raise gap.failure("CUDA gives other values than the CPU", tolerance)
    model.to(device).to("cpu")
    lost = [name for name, tensor in named_state(model) if not same_bits(tensor.detach(), before[name])]
    if lost:
        raise Failure("not everything came back from CUDA as it was", where=quoted(lost))
    return None


class _OneDevice(TorchDispatchMode):
    """Mode that rejects operations on tensors of two devices, as CUDA does; meta accepts some of them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = sorted({str(tensor.device) for tensor in inputs if tensor.ndim})
        name = func.overloadpacket.__name__
        if len(devices) > 1 and name not in _MOVES:
            raise MixedDevicesError(f"{name} got tensors on {' and '.join(devices)}")
        return func(*args, **(kwargs or {}))


class _FullPrecision:
    """Context manager that turns off TF32, which rounds to ten bits."""

    def __enter__(self) -> None:
        self.before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self.before
