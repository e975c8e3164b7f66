"""What a model of sequences declares: that it does not look ahead, and that it does not look at padding."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import Failure, Skip
from ...inputs.draw import Arguments
from ..definition import Level, check
from ..measure.compare import Difference, Leaf, worst
from ..subject import Subject


@check("batch.causal", Level.MUST, opt_in=True)
def causal(subject: Subject, *, axis: int = 1) -> str | None:
    """In eval mode, no step of the output depends on a later step of the input.

    The inputs are replaced from some step on, at three places: not a bit of the outputs before may change.

    Why: a language model that sees the next token learns to copy it, its loss is splendid, and it generates
    nothing.
    Fix: mask with `torch.triu(..., diagonal=1)`, pad convolutions on the left only, normalise over channels.
    Declare: `supports={"batch.causal"}` asks for the check; `params={"batch.causal": {"axis": 2}}` says which
    axis is the time, of inputs and outputs.
    """
    steps = _steps(subject, axis)
    if steps < 2:
        raise Skip(f"the inputs have one step along axis {axis}")
    cuts = sorted({1, steps // 2, steps - 1})
    guilty = cuts[0]
    changed = False

    def measure() -> Difference | None:
        nonlocal guilty, changed
        before = _stepped(subject.outputs(subject.batch()), axis, steps)
        found: Difference | None = None
        for cut in cuts:
            replaced = _replaced(subject.batch(), subject.batch(seed=1), axis, steps, slice(cut, steps))
            after = _stepped(subject.outputs(replaced), axis, steps)
            changed = changed or worst(after, before) is not None
            now = worst(_narrowed(after, axis, cut), _narrowed(before, axis, cut))
            if now is not None and (found is None or now.error > found.error):
                found, guilty = now, cut
        return found

    def objection(found: Difference) -> Failure:
        what = f"the output looks ahead: with other inputs from step {guilty} on, step {{}} changes"
        step = found.index[axis] if found.index else 0
        return Failure(what.format(step), where=found.where)

    note = subject.close(measure, objection, tolerance=0.0)
    if not changed:
        raise Skip("other inputs change no output: looking ahead would not show")
    return note


@check("batch.padding", Level.MUST, opt_in=True)
def padding(subject: Subject, *, mask: str = "", padded: int = 1, axis: int = 1) -> str | None:
    """In eval mode, what stands in padded steps does not change the output for the others.

    The last third of the steps is masked, and its inputs are replaced: not a bit of the outputs of the other
    steps may change, nor of outputs without steps.

    Why: else a prediction depends on how much the longest sequence of its batch is longer.
    Fix: hand the mask to every attention, and leave masked steps out of means, maxima and normalisation.
    Declare: `supports={"batch.padding"}` asks for the check. Its parameters are `mask`, the name of the
    argument (`"args[1]"`, `"kwargs['lengths']"`), by default the only one of bools; `padded`, what it holds
    where there is padding (0 if it marks what to keep); and `axis`, the time. A mask with one number for each
    sample holds lengths.
    """
    number = _mask(subject, mask)
    steps = _steps(subject, axis, without=number)
    kept = steps - max(steps // 3, 1)
    if kept < 1:
        raise Skip(f"the inputs have one step along axis {axis}")
    changed = False

    def masked(arguments: Arguments, *, on: bool = True) -> Arguments:
        tensors = arguments.tensors
        tensors[number] = _padding(tensors[number], kept if on else steps, steps, padded)
        return arguments.with_tensors(tensors)

    def measure() -> Difference | None:
        nonlocal changed
        batch, others = subject.batch(), subject.batch(seed=1)
        replaced = _replaced(batch, others, axis, steps, slice(kept, steps))
        before, after, unmasked = (
            _kept(subject.outputs(call), axis, steps, kept)
            for call in (masked(batch), masked(replaced), masked(replaced, on=False))
        )
        changed = changed or worst(unmasked, before) is not None
        return worst(after, before)

    def objection(found: Difference) -> Failure:
        what = f"the output depends on what stands in padded steps, {kept} to {steps - 1}"
        return Failure(what, where=found.where)

    note = subject.close(measure, objection, tolerance=0.0)
    if not changed:
        return "the mask itself changes no output of the steps that are kept"
    return note


def _steps(subject: Subject, axis: int, without: int | None = None) -> int:
    """Return the number of steps: the length of the first tensor that has the axis."""
    tensors = [t for number, t in enumerate(subject.batch().tensors) if number != without]
    found = next((t.shape[axis] for t in tensors if -t.ndim <= axis < t.ndim), None)
    if found is None:
        raise Skip(f"no input has an axis {axis}: params= takes another one")
    return found


def _mask(subject: Subject, name: str) -> int:
    """Return the number of the mask among the tensors."""
    batch = subject.batch()
    if name:
        if name not in batch.names:
            raise Skip(f"there is no argument {name}: the tensors are {', '.join(batch.names)}")
        return batch.names.index(name)
    bools = [number for number, tensor in enumerate(batch.tensors) if tensor.dtype == torch.bool]
    if len(bools) != 1:
        raise Skip('which argument is the mask? params={"batch.padding": {"mask": "args[1]"}} says it')
    return bools[0]


def _padding(mask: Tensor, kept: int, steps: int, padded: int) -> Tensor:
    if mask.ndim < 2:
        return torch.full_like(mask, kept)
    padding = torch.arange(mask.shape[-1], device=mask.device) >= kept
    return (padding == bool(padded)).to(mask.dtype).expand(mask.shape).clone()


def _replaced(batch: Arguments, others: Arguments, axis: int, steps: int, where: slice) -> Arguments:
    """Return the batch with some steps of another one."""
    tensors = batch.tensors
    for number, (ours, theirs) in enumerate(zip(tensors, others.tensors, strict=True)):
        if -ours.ndim <= axis < ours.ndim and ours.shape[axis] == steps:
            index = torch.arange(steps, device=ours.device)[where]
            tensors[number] = ours.index_copy(axis, index, theirs.index_select(axis, index))
    return batch.with_tensors(tensors)


def _stepped(outputs: list[Leaf], axis: int, steps: int) -> list[Leaf]:
    """Return the outputs that have the steps of the inputs."""
    found = [leaf for leaf in outputs if -leaf.tensor.ndim <= axis < leaf.tensor.ndim]
    found = [leaf for leaf in found if leaf.tensor.shape[axis] == steps]
    if not found:
        raise Skip(f"no output has {steps} steps along axis {axis}: params= takes another one")
    return found


def _narrowed(outputs: list[Leaf], axis: int, length: int) -> list[Leaf]:
    return [Leaf(leaf.path, leaf.tensor.narrow(axis, 0, length)) for leaf in outputs]


def _kept(outputs: list[Leaf], axis: int, steps: int, kept: int) -> list[Leaf]:
    """Return the outputs, those that have steps without the padded ones."""

    def cut(tensor: Tensor) -> Tensor:
        has_steps = -tensor.ndim <= axis < tensor.ndim and tensor.shape[axis] == steps
        return tensor.narrow(axis, 0, kept) if has_steps else tensor

    return [Leaf(leaf.path, cut(leaf.tensor)) for leaf in outputs]
