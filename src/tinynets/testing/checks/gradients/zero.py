from __future__ import annotations

from ... import Level, Subject, check
from ...locate.gradients import reason_for_zero
from ._shared import parameters_get, training_passes


@check("gradients.zero", Level.SHOULD)
def zero(subject: Subject) -> None:
    """In training mode, no gradient is all zeros in three batches, with a training step after each.

    A head that starts at zero passes: after one step, gradients flow through it.

    Why: a parameter whose gradient is always zero is not trained either. Typical causes are a unit that is
    dead from the start, a factor of zero, a `round()` or `argmax` on the path, and a `clamp` that always
    saturates.
    Fix: look at the operations between the parameter and the output; autograd returns zero for every
    piecewise constant function.
    Declare: an exemption.
    """
    passes = training_passes(subject)
    silent = [
        name
        for name in passes[0]
        if any(one[name] is not None for one in passes)
        and all((gradient := one[name]) is None or gradient.peak == 0 for one in passes)
    ]
    if silent:
        raise parameters_get(
            "a gradient of zero in training",
            silent,
            len(passes[0]),
            size=f"exactly 0 in {len(passes)} batches, with a step of training after each",
            cause=reason_for_zero(subject, silent),
        )
