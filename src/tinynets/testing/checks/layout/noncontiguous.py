from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...._torch.state.tensor_internals import write_count
from ....inputs.arguments import Arguments
from ... import Failure, Level, Subject, check
from ...measure.compare import Difference, worst

Arrange = Callable[[Tensor, int | None], Tensor]


def _transposed(tensor: Tensor, axis: int | None) -> Tensor:
    return tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.ndim > 1 else tensor


def _strided(tensor: Tensor, axis: int | None) -> Tensor:
    return torch.stack((tensor, tensor), -1)[..., 0] if tensor.ndim else tensor


def _expanded(tensor: Tensor, axis: int | None) -> Tensor:
    return tensor if axis is None else tensor.narrow(axis, 0, 1).expand_as(tensor)


@check("layout.noncontiguous", Level.MUST)
def noncontiguous(subject: Subject) -> str | None:
    """Inputs that are transposed, strided or expanded in memory give the same outputs as contiguous ones.

    Why: data pipelines produce crops, transposes, slices and expanded batches.
    Fix: `.reshape` or `einops.rearrange` instead of `.view`; do not use `as_strided` or `data_ptr` on an
    input.
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

        try:
            note = subject.assert_close(measure, f"{label} inputs give another output than contiguous ones")
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
