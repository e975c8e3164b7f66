from __future__ import annotations

import torch
from torch import Tensor

from ....inputs.arguments import Arguments
from ... import Level, Skip, Subject, check
from ...measure.compare import Difference, Leaf, worst
from ._sequence import count_steps, has_steps, replace_steps


@check("batch.padding", Level.MUST, opt_in=True)
def padding(subject: Subject, *, mask: str = "", padded: int = 1, axis: int = 1) -> str | None:
    """In eval mode, the values in padded steps do not change the outputs for the other steps.

    The check masks the last third of the steps and replaces their inputs. The outputs for the other steps,
    and outputs without a time axis, must stay bit-identical.

    Why: otherwise a prediction depends on the length of the longest sequence in its batch.
    Fix: pass the mask to every attention layer, and leave masked steps out of means, maxima and
    normalisation.
    Declare: `supports={"batch.padding"}` turns the check on. Its parameters are `mask`, the name of the
    argument (`"args[1]"`, `"kwargs['lengths']"`), by default the only tensor of bools; `padded`, the value of
    the mask at padded steps (0 if it marks the steps to keep); and `axis`, the time axis. A mask with one
    number per sample holds lengths.
    """
    number = _mask(subject, mask)
    steps = count_steps(subject, axis, without=number)
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
        replaced = replace_steps(batch, others, axis, steps, slice(kept, steps))
        before, after, unmasked = (
            _kept(subject.outputs(call), axis, steps, kept)
            for call in (masked(batch), masked(replaced), masked(replaced, on=False))
        )
        changed = changed or worst(unmasked, before) is not None
        return worst(after, before)

    what = f"the output depends on what stands in padded steps, {kept} to {steps - 1}"
    note = subject.assert_close(measure, what, tolerance=0.0)
    if not changed:
        return "the mask itself changes no output of the steps that are kept"
    return note


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


def _kept(outputs: list[Leaf], axis: int, steps: int, kept: int) -> list[Leaf]:
    """Return the outputs; those that have steps, without the padded ones."""
    return [
        Leaf(leaf.path, leaf.tensor.narrow(axis, 0, kept)) if has_steps(leaf.tensor, axis, steps) else leaf
        for leaf in outputs
    ]
