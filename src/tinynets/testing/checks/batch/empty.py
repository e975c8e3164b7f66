from __future__ import annotations

from ... import Failure, Level, Subject, check
from ...measure.compare import leaves


@check("batch.empty", Level.CAPABILITY, valueless=True)
def empty(subject: Subject) -> None:
    """The model accepts a batch of zero samples and returns outputs for zero samples.

    Why: a detector without detections hands an empty batch to the next stage, and so does a filter in a data
    pipeline.
    Fix: pass explicit sizes to `reshape`, since `-1` is ambiguous for 0 values; do not take a `max` over the
    batch.
    Declare: `supports={"batch.empty"}` makes it a requirement.
    """
    arguments = subject.batch(0)
    for leaf, axis in subject.batched(leaves(subject.run(arguments))):
        if leaf.tensor.shape[axis] != 0:
            raise Failure(
                "the output for no samples is not empty", where=leaf.name, size=str(list(leaf.tensor.shape))
            )
