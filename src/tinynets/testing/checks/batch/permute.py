from __future__ import annotations

from ... import Level, Subject, check
from ...measure.batch_independence import Samples, compare_samples, first_last


@check("batch.permute", Level.MUST)
def permute(subject: Subject) -> str | None:
    """In eval mode, a batch in another order gives the same outputs in that order.

    Why: it catches what replacing samples does not: outputs that depend on the place in the batch, such as a
    bias per row, or on a choice among all samples that happens to fall on the same one.
    Fix: the message names the module whose input is the same and whose output is not.
    Declare: a model whose batch has an order (frames of one video): an exemption, or name another batch axis
    by `batch_axes=`.
    """
    size = first_last(subject)[-1] + 1
    order = [*range(1, size, 2), *range(0, size, 2)]  # not a rotation, which a `roll` commutes with
    cases = [Samples("a sample", lambda: subject.batch().rows(order), order, list(range(size)))]
    what = "the output for {} changes with the order of the batch, in eval mode"
    return compare_samples(subject, cases, what, same_draws=False)
