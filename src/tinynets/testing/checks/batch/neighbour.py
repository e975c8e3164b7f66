from __future__ import annotations

from ....inputs.arguments import Arguments
from ... import Level, Subject, check
from ...measure.batch_independence import Samples, compare_samples, first_last


@check("batch.neighbour", Level.MUST)
def neighbour(subject: Subject) -> str | None:
    """In eval mode, the output for a sample does not depend on the other samples of its batch.

    The first sample is kept, then the last one, and all others are replaced: not a bit may change. Both ends
    matter, since a sum along the batch does not reach the first sample.

    Why: else a prediction depends on who else is asking, and results cannot be reproduced. Typical are
    normalisation by the statistics of the batch, a softmax, mean or sum over axis 0, attention over the batch
    because of `batch_first=False`, and a reshape that merges samples.
    Fix: the message names the module whose input is the same and whose output is not.
    Declare: a model that compares samples (contrastive heads, retrieval): an exemption.
    """

    def case(kept: int) -> Samples:
        def make() -> Arguments:
            return subject.batch().replace_others(kept, subject.batch(seed=1))

        return Samples(f"sample {kept}", make, [kept], [kept])

    what = "the output for {} changes with the other samples of its batch, in eval mode"
    return compare_samples(subject, [case(kept) for kept in first_last(subject)], what)
