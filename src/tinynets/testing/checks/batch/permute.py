from __future__ import annotations

from ... import Level, Subject, check
from ...measure.batch_independence import Samples, compare_samples, first_last


@check("batch.permute", Level.MUST)
def permute(subject: Subject) -> str | None:
    """In eval mode, permuting the batch permutes the outputs in the same way.

    Why: it catches what replacing samples misses: outputs that depend on the position in the batch, such as a
    bias per row, or on a selection over the whole batch that happens to pick the same sample.
    Fix: the message names the module whose input is the same but whose output differs.
    Declare: an exemption, for a model whose batch is ordered (frames of one video); or another batch axis in
    `batch_axes=`.
    """
    size = first_last(subject)[-1] + 1
    order = [*range(1, size, 2), *range(0, size, 2)]  # not a rotation, which a `roll` commutes with
    cases = [Samples("a sample", lambda: subject.batch().rows(order), order, list(range(size)))]
    what = "the output for {} changes with the order of the batch, in eval mode"
    return compare_samples(subject, cases, what, same_draws=False)
