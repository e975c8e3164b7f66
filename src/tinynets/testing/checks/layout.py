"""Whether the model minds how its inputs lie in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..._torch.random_states import seed_everything
from ..._torch.tensors import write_count
from ...errors import Failure, Skip
from ...inputs.draw import Arguments
from ..definition import Level, check
from ..measure.compare import Difference, Leaf, detached, objective, worst
from ..measure.state_compare import short
from ..subject import Subject

Arrange = Callable[[Tensor, int | None], Tensor]


def _transposed(tensor: Tensor, axis: int | None) -> Tensor:
    return tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.ndim > 1 else tensor


def _strided(tensor: Tensor, axis: int | None) -> Tensor:
    return torch.stack((tensor, tensor), -1)[..., 0] if tensor.ndim else tensor


def _expanded(tensor: Tensor, axis: int | None) -> Tensor:
    return tensor if axis is None else tensor.narrow(axis, 0, 1).expand_as(tensor)


@check("layout.noncontiguous", Level.MUST)
def noncontiguous(subject: Subject) -> str | None:
    """Inputs that are transposed, strided or expanded in memory give what contiguous ones give.

    Why: crops, transposes, slices and expanded batches are what data pipelines hand over.
    Fix: `.reshape` or `einops.rearrange` instead of `.view`; no `as_strided` or `data_ptr` on an input.
    Declare: an exemption.
    """
    notes: list[str] = []
    arrangements: dict[str, Arrange] = {"transposed": _transposed, "strided": _strided, "expanded": _expanded}
    for label, arrange in arrangements.items():
        if all(t.is_contiguous() for t in _arranged(subject.batch(), arrange).tensors):
            continue
        if label == "expanded" and _writes_into_inputs(subject):
            notes.append("the model writes into its inputs, so expanded ones are left out")
            continue

        def measure(arrange: Arrange = arrange) -> Difference | None:
            arranged = _arranged(subject.batch(), arrange)
            plain = arranged.map(lambda tensor: tensor.contiguous().clone())
            return worst(subject.outputs(arranged), subject.outputs(plain))

        def objection(found: Difference, label: str = label) -> Failure:
            return Failure(f"{label} inputs give another output than contiguous ones", where=found.where)

        try:
            note = subject.close(measure, objection)
        except Failure as failure:
            if failure.error is not None:
                failure.what += f", on inputs that are {label}"
                if "view" in str(failure.error):
                    failure.cause = ".view needs memory in the order of the axes: use .reshape or rearrange"
            raise
        notes += [note] if note else []
        subject.restore()
    return "; ".join(dict.fromkeys(notes)) or None


def _arranged(arguments: Arguments, arrange: Arrange) -> Arguments:
    pairs = zip(arguments.tensors, arguments.axes, strict=True)
    return arguments.with_tensors([arrange(tensor, axis) for tensor, axis in pairs])


def _writes_into_inputs(subject: Subject) -> bool:
    batch = subject.batch()
    subject.run(batch)
    return any(write_count(tensor) for tensor in batch.tensors)


@check("layout.channels_last", Level.SHOULD)
def channels_last(subject: Subject, *, tolerance: float = 1e-4) -> str | None:
    """A model and images in channels-last memory give the same values, and gradients.

    Why: convolutions are faster in it, on CPUs and on GPUs with mixed precision.
    Fix: `.reshape` or `einops.rearrange` instead of `.view`, in autograd functions of your own too.
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
                try:
                    torch.autograd.backward(loss)
                except Exception as error:
                    raise Failure(f"backward raised {short(error)}", error=error) from error
        return detached(output)

    def objection(found: Difference) -> Failure:
        return Failure("channels-last inputs give another output than contiguous ones", where=found.where)

    try:
        ours = run(torch.channels_last)
    except Failure as failure:
        subject.restore()
        try:
            run(torch.contiguous_format)
        except Failure:
            raise Skip("forward and backward do not run in contiguous memory either") from None
        failure.what += ", in channels-last memory only"
        raise
    found = worst(ours, subject.reference)
    if found is None or found.error <= tolerance:
        return None
    subject.restore()

    def measure() -> Difference | None:
        return worst(run(torch.channels_last), run(torch.contiguous_format))

    return subject.close(measure, objection, tolerance=tolerance)


def _laid_out(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    return tensor.contiguous(memory_format=memory_format) if tensor.ndim == 4 else tensor


def _differentiable(tensor: Tensor) -> Tensor:
    """Return a tensor to write into and to differentiate by.

    torch 2.13 ends the process in the backward pass of a group norm on channels-last images that need no
    gradient.
    """
    return tensor.requires_grad_().clone() if tensor.is_floating_point() else tensor
