from __future__ import annotations

from ... import Level, Skip, Subject, check
from ...measure.batch_independence import Samples, compare_samples, first_last
from ...measure.compare import FLOAT32_LIMIT
from ...measure.model_errors import as_skip


@check("batch.subset", Level.MUST)
def subset(subject: Subject, *, tolerance: float = FLOAT32_LIMIT) -> str | None:
    """In eval mode, a sample gives the same output alone as in a batch, up to rounding.

    Differences beyond the tolerance are measured again in float64, so rounding alone never fails the check.

    Why: models are evaluated in batches and served one by one.
    Fix: do not compute statistics, capacities or thresholds from the batch; the message names the module.
    Declare: a quantised model computes its scales from the batch: set a larger `tolerance` in `params=`.
    """

    def case(index: int) -> Samples:
        return Samples(f"sample {index}", lambda: subject.batch().rows([index]), [index], [0])

    cases = [case(index) for index in first_last(subject)]
    with as_skip("the model does not take one sample: see batch.sizes[1]"):
        alone = subject.batched(subject.outputs(cases[0].make()))
    in_batch = subject.batched(subject.reference)
    if any(
        a.tensor.shape != b.tensor.narrow(axis, 0, 1).shape
        for (a, _), (b, axis) in zip(alone, in_batch, strict=True)
    ):
        raise Skip("the output for one sample has another shape: see batch.sizes[1]")
    what = "the output for {} alone is not the one that it has in a batch, in eval mode"
    return compare_samples(subject, cases, what, tolerance, same_draws=False)
