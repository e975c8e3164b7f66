from __future__ import annotations

from ... import Failure, Level, Subject, check
from ...measure.compare import leaves


@check("batch.empty", Level.CAPABILITY, valueless=True)
def empty(subject: Subject) -> None:
    """The model takes a batch without samples and returns outputs without samples.

    Why: a detector without detections hands an empty batch to the next stage, and so does a filter in a data
    pipeline.
    Fix: reshape with sizes instead of `-1`, which cannot be told from 0 values; no `max` over the batch.
    Declare: `supports={"batch.empty"}` holds the model to it.
    """
    arguments = subject.batch(0)
    for leaf, axis in subject.batched(leaves(subject.run(arguments))):
        if leaf.tensor.shape[axis] != 0:
            raise Failure(
                "the output for no samples is not empty", where=leaf.name, size=str(list(leaf.tensor.shape))
            )
