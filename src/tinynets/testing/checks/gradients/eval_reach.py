from __future__ import annotations

from ... import Level, Subject, check
from ...measure.training import backward, measured
from ._shared import parameters_get, training_passes


@check("gradients.eval_reach", Level.INFO)
def eval_reach(subject: Subject) -> None:
    """In eval mode, the same parameters get a gradient as in training mode.

    Why: it shows which parameters are used only in training mode, such as auxiliary heads: fine-tuning in
    eval mode (frozen batch normalisation) does not train them.
    Fix: nothing, if this is intended.
    Declare: nothing: this is only reported.
    """
    passes = training_passes(subject)
    backward(subject, training=False)
    now = measured(subject.model)
    lost = [name for name in now if now[name] is None and passes[0][name] is not None]
    if lost:
        raise parameters_get("a gradient in training only", lost, len(now))
