from __future__ import annotations

from ... import Failure, Level, Subject, check
from ...call_helpers import quoted
from ._shared import training_passes


@check("gradients.ddp", Level.SHOULD)
def ddp(subject: Subject) -> None:
    """In training mode, a parameter that gets a gradient gets one in every batch.

    Why: `DistributedDataParallel` waits for all gradients, and stops with "Expected to have finished
    reduction in the prior iteration" where one does not come, or hangs if the processes differ in which.
    Fix: `find_unused_parameters=True`, which costs a walk through the graph in every step; or let every
    branch take part, if with a weight of zero.
    Declare: layers that are dropped at random: an exemption.
    """
    passes = training_passes(subject)
    # One that never gets a gradient is the business of gradients.reach.
    missing = [name for name in passes[0] if len({one[name] is None for one in passes}) == 2]
    if missing:
        batches = sum(any(one[name] is None for name in missing) for one in passes)
        raise Failure(
            "DistributedDataParallel needs find_unused_parameters=True",
            where=quoted(missing, most=5),
            size=f"no gradient in {batches} of {len(passes)} batches",
        )
