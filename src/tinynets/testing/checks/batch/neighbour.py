from __future__ import annotations

from ....inputs.arguments import Arguments
from ... import Level, Subject, check
from ...measure.batch_independence import Samples, compare_samples, first_last


@check("batch.neighbour", Level.MUST)
def neighbour(subject: Subject) -> str | None:
    """In eval mode, the output for a sample does not depend on the other samples of its batch.

    The check keeps the first sample, then the last one, and replaces all others: the output for the kept
    sample must stay bit-identical. Both ends matter, since a cumulative sum along the batch does not reach
    the first sample.

    Why: otherwise a prediction depends on the other requests in its batch and cannot be reproduced. Typical
    causes are normalisation by batch statistics, a softmax, mean or sum over axis 0, attention over the batch
    because of `batch_first=False`, and a reshape that merges samples.
    Fix: the message names the module whose input is the same but whose output differs.
    Declare: an exemption, for a model that compares samples (contrastive heads, retrieval).
    """

    def case(kept: int) -> Samples:
        def make() -> Arguments:
            return subject.batch().replace_others(kept, subject.batch(seed=1))

        return Samples(f"sample {kept}", make, [kept], [kept])

    what = "the output for {} changes with the other samples of its batch, in eval mode"
    return compare_samples(subject, [case(kept) for kept in first_last(subject)], what)
