from __future__ import annotations

from ... import Failure, Level, Subject, check
from ...measure.input_gradients import dead_inputs

_NAMED = 5


@check("gradients.input", Level.SHOULD)
def inputs(subject: Subject) -> str | None:
    """In training mode, every element of every float input has a gradient, in some sample.

    Why: the model ignores elements without a gradient: pixels that a stride skips, a channel that a slice
    leaves out, the last step of a sequence.
    Fix: the message gives the ignored part of the input as a slice.
    Declare: an exemption, for a model that ignores part of its input on purpose.
    """
    dead, note = dead_inputs(subject)
    if dead:
        parts = ", ".join(dead[:_NAMED]) + (f" and {len(dead) - _NAMED} more" if len(dead) > _NAMED else "")
        raise Failure("parts of the input have no gradient", where=parts, size=note)
    return note or None
