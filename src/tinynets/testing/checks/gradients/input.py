from __future__ import annotations

from ... import Failure, Level, Subject, check
from ...measure.input_gradients import dead_inputs

_NAMED = 5


@check("gradients.input", Level.SHOULD)
def inputs(subject: Subject) -> str | None:
    """In training mode, every element of every float input has a gradient, in some sample.

    Why: what has none is not looked at: pixels that a stride leaves over, a channel that a slice forgets, the
    last step of a sequence.
    Fix: the message has the part of the input, as a slice.
    Declare: a model that is not to look at all of its input: an exemption.
    """
    dead, note = dead_inputs(subject)
    if dead:
        parts = ", ".join(dead[:_NAMED]) + (f" and {len(dead) - _NAMED} more" if len(dead) > _NAMED else "")
        raise Failure("parts of the input have no gradient", where=parts, size=note)
    return note or None
