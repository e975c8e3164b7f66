from __future__ import annotations

from ... import Level, Subject, check
from ._shared import assert_finite_outputs


@check("runs.eval", Level.MUST, valueless=True)
def runs_eval(subject: Subject) -> None:
    """The model runs in eval mode and returns only finite values.

    Why: all other checks compare outputs.
    Fix: the message has the exception and the line, or the output with the NaN; a broken contract appears as
    an exception.
    Declare: nothing: if the example inputs do not suit the model, pass others.
    """
    assert_finite_outputs(subject, training=False)
