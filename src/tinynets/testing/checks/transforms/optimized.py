from __future__ import annotations

import torch

from ...._inference.optimized import OptimizedModel
from ... import Failure, Level, Subject, check
from ...measure.compare import worst
from ._shared import seeded_outputs


@check("transforms.optimized", Level.CAPABILITY, slow=True, opt_in=True)
def optimized(subject: Subject) -> None:
    """`tn.optimize_for_inference` gives bit-identical outputs, for every batch and after the weights change.

    Why: straight-line code takes half the time of a small model, and must never be stale.
    Fix: the message says what cannot be traced, and in which line; do not change attributes in forward.
    Declare: with `supports=`, which also turns the check on.
    """
    fast = OptimizedModel(subject.model)
    sizes = (None,) if subject.example.size is None else (None, 1, 3)
    for when in ("", " after the weights have changed"):
        for size in sizes:
            batch = subject.batch(size)
            expected = subject.outputs(batch)
            fast(*batch.args, **batch.kwargs)  # may be the model's own, to be traced
            ours = seeded_outputs(subject, lambda batch=batch: fast(*batch.args, **batch.kwargs))
            if fast.reason:
                raise Failure(f"the model cannot be optimized for inference: {fast.reason}")
            found = worst(ours, expected)
            if found is not None and found.error > 0:
                raise found.failure(f"the optimized model gives another output{when}", 0)
        with torch.no_grad():
            for parameter in subject.model.parameters():
                parameter.mul_(1.25)
