from __future__ import annotations

from ... import Level, Subject, check
from ._shared import assert_finite_outputs


@check("runs.train", Level.MUST, valueless=True)
def runs_train(subject: Subject) -> None:
    """The model runs in training mode, and every number that it gives is finite.

    Why: a model that is only ever called in eval mode in its tests breaks in the first step of training.
    Fix: the message has the exception and the line, or the output with the NaN.
    Declare: where training takes other arguments (targets of a detector), `train_inputs=`.
    """
    assert_finite_outputs(subject, training=True)
