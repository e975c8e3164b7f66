from __future__ import annotations

import torch

from ....inputs.arguments import Arguments
from ... import Failure, Level, Skip, Subject, check
from ...measure.batch_independence import Samples, compare_samples, first_last
from ...measure.training import differentiable


@check("batch.nan", Level.SHOULD)
def nan(subject: Subject) -> str | None:
    """In eval mode, a sample full of NaN does not change the outputs for the other samples.

    Why: one corrupt image must not spoil a batch. Code that multiplies samples by 0 and adds them, as masks
    and routing matrices do, passes every other check, but 0 times NaN is NaN.
    Fix: select (`torch.where`, indexing) instead of multiplying by 0; the message names the module.
    Declare: an exemption.
    """
    size = first_last(subject)[-1] + 1
    spoilt = size // 2
    kept = [index for index in range(size) if index != spoilt]
    if not any(differentiable(tensor) for tensor in subject.batch().tensors):
        raise Skip("the inputs are integers: they cannot be NaN")

    def make() -> Arguments:
        ours = subject.batch()
        spoiled = ours.map(lambda t: torch.full_like(t, torch.nan) if differentiable(t) else t)
        return spoiled.replace_others(spoilt, ours)

    what = "a NaN in another sample changes the output for {}, in eval mode"
    try:
        return compare_samples(subject, [Samples("a sample", make, kept, kept)], what)
    except Failure as failure:
        if failure.error is not None:
            raise Skip(f"the model refuses a NaN: {failure.what}") from None
        failure.size = f"sample {spoilt} is NaN"
        raise
