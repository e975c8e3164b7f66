from __future__ import annotations

from ... import Level, Subject, check
from ._shared import assert_finite_outputs


@check("runs.train", Level.MUST, valueless=True)
def runs_train(subject: Subject) -> None:
    """The model runs in training mode and returns only finite values.

    Why: a model whose tests only call it in eval mode may break in the first training step.
    Fix: the message has the exception and the line, or the output with the NaN.
    Declare: `train_inputs=`, if training mode takes other arguments (targets of a detector).
    """
    assert_finite_outputs(subject, training=True)
