from __future__ import annotations

import torch
from torch import Tensor

from ...._torch.state.random_states import seed_everything
from ... import Failure, Level, Skip, Subject, check
from ...measure.compare import Difference, Leaf, detached, objective, worst
from ...measure.model_errors import as_failure, as_skip, short


@check("layout.channels_last", Level.SHOULD)
def channels_last(subject: Subject, *, tolerance: float = 1e-4) -> str | None:
    """With model and images in channels-last memory format, the outputs and gradients stay the same.

    Why: convolutions are faster in it, on CPUs and on GPUs with mixed precision.
    Fix: `.reshape` or `einops.rearrange` instead of `.view`, in custom autograd functions too.
    Declare: an exemption.
    """
    if not any(t.ndim == 4 for t in (*subject.batch().tensors, *subject.model.parameters())):
        raise Skip("no input and no parameter has four axes")

    def run(memory_format: torch.memory_format) -> list[Leaf]:
        batch = subject.batch().map(lambda tensor: _differentiable(_laid_out(tensor, memory_format)))
        subject.model.eval().to(memory_format=memory_format)  # pyright: ignore[reportCallIssue]
        seed_everything(subject.seed)
        with torch.enable_grad():
            output = subject.call(batch)
            loss = objective(output)
            if loss is not None and loss.requires_grad:
                with as_failure("backward raised", short):
                    torch.autograd.backward(loss)
        return detached(output)

    try:
        ours = run(torch.channels_last)
    except Failure as failure:
        subject.restore()
        with as_skip("forward and backward do not run in contiguous memory either"):
            run(torch.contiguous_format)
        failure.what += ", in channels-last memory only"
        raise
    found = worst(ours, subject.reference)
    if found is None or found.error <= tolerance:
        return None
    subject.restore()

    def measure() -> Difference | None:
        return worst(run(torch.channels_last), run(torch.contiguous_format))

    what = "channels-last inputs give another output than contiguous ones"
    return subject.assert_close(measure, what, tolerance=tolerance)


def _laid_out(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    return tensor.contiguous(memory_format=memory_format) if tensor.ndim == 4 else tensor


def _differentiable(tensor: Tensor) -> Tensor:
    """Return a tensor that requires a gradient and that may be modified in place.

    torch 2.13 crashes the process in the backward pass of a group norm on channels-last images that do not
    require a gradient.
    """
    return tensor.requires_grad_().clone() if tensor.is_floating_point() else tensor
