from __future__ import annotations

import math

from ... import Level, Subject, check
from ...locate.gradients import first_nan
from ...measure.training import Pass
from ._shared import parameters_get, training_passes


@check("gradients.finite", Level.MUST)
def finite(subject: Subject) -> str | None:
    """In training mode, the gradients of the model, as it is passed, are finite.

    Why: a single NaN gradient makes one parameter NaN in the first step and all of them in the next. The
    outputs may still be finite: `sqrt`, `norm` and `log` at 0, and `torch.where` with a NaN in the branch
    that is not taken.
    Fix: the message names the operation and, if possible, the line. Guard the argument of the function, not
    its result: `torch.where(ok, x, 1).sqrt()`.
    Declare: an exemption.
    """
    passes = training_passes(subject)
    broken = _not_finite(passes[0])
    if broken:
        what = "a gradient that is not finite"
        raise parameters_get(what, broken, len(passes[0]), cause=first_nan(subject))
    later = next((number for number, one in enumerate(passes) if _not_finite(one)), None)
    return None if later is None else f"not finite any more after {later} steps of training"


def _not_finite(one: Pass) -> list[str]:
    return [name for name, gradient in one.items() if gradient and not math.isfinite(gradient.peak)]
