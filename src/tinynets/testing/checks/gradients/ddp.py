from __future__ import annotations

from ... import Failure, Level, Subject, check
from ...call_helpers import quoted
from ._shared import training_passes


@check("gradients.ddp", Level.SHOULD)
def ddp(subject: Subject) -> None:
    """In training mode, a parameter that gets a gradient in one batch gets one in every batch.

    Why: `DistributedDataParallel` waits for all gradients. If one is missing, it raises "Expected to have
    finished reduction in the prior iteration"; if the processes miss different ones, it hangs.
    Fix: set `find_unused_parameters=True`, which traverses the graph in every step; or add every branch to
    the output, with a weight of zero if necessary.
    Declare: an exemption, for layers that are dropped at random.
    """
    passes = training_passes(subject)
    # gradients.reach reports parameters that never get a gradient.
    missing = [name for name in passes[0] if len({one[name] is None for one in passes}) == 2]
    if missing:
        batches = sum(any(one[name] is None for name in missing) for one in passes)
        raise Failure(
            "DistributedDataParallel needs find_unused_parameters=True",
            where=quoted(missing, most=5),
            size=f"no gradient in {batches} of {len(passes)} batches",
        )
