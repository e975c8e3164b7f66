"""Steps of a sequence: how many there are, and replacing some of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ....inputs.arguments import Arguments
from ... import Skip, Subject


def count_steps(subject: Subject, axis: int, without: int | None = None) -> int:
    """Return the number of steps: the length of the first tensor that has the axis."""
    tensors = [t for number, t in enumerate(subject.batch().tensors) if number != without]
    found = next((t.shape[axis] for t in tensors if -t.ndim <= axis < t.ndim), None)
    if found is None:
        raise Skip(f"no input has an axis {axis}: params= takes another one")
    return found


def has_steps(tensor: Tensor, axis: int, steps: int) -> bool:
    """Return whether a tensor has the axis, with that many steps along it."""
    return -tensor.ndim <= axis < tensor.ndim and tensor.shape[axis] == steps


def replace_steps(batch: Arguments, others: Arguments, axis: int, steps: int, where: slice) -> Arguments:
    """Return the batch with some steps of another one."""
    tensors = batch.tensors
    for number, (ours, theirs) in enumerate(zip(tensors, others.tensors, strict=True)):
        if has_steps(ours, axis, steps):
            index = torch.arange(steps, device=ours.device)[where]
            tensors[number] = ours.index_copy(axis, index, theirs.index_select(axis, index))
    return batch.with_tensors(tensors)
