from __future__ import annotations

from ... import Level, Subject, check
from ._shared import assert_finite_outputs


@check("runs.eval", Level.MUST, valueless=True)
def runs_eval(subject: Subject) -> None:
    """The model runs in eval mode, and every number that it gives is finite.

    Why: everything else is a comparison of outputs.
    Fix: the message has the exception and the line, or the output with the NaN; a contract that is broken
    shows as the exception.
    Declare: if the example cannot be run as it is, pass inputs that can.
    """
    assert_finite_outputs(subject, training=False)
