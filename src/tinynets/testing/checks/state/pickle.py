from __future__ import annotations

import pickle

from torch import nn

from ... import Failure, Level, Subject, check
from ...measure.compare import worst
from ...measure.model_errors import short
from ...measure.state_compare import find_failing_attribute, perturb, state_difference_cause


@check("state.pickle", Level.CAPABILITY)
def pickled(subject: Subject) -> str | None:
    """The whole model can be pickled, and its copy gives bit-identical outputs.

    Why: `torch.save(model)` pickles it, and so do data loaders and launchers that spawn processes.
    Fix: do not store lambdas or instances of local classes in attributes: define them at the top level of a
    module.
    Declare: with `supports=`, if you rely on it. Parametrizations cannot be pickled.
    """
    perturb(subject.model)
    try:
        other: nn.Module = pickle.loads(pickle.dumps(subject.model))
    except Exception as error:
        where = find_failing_attribute(subject.model, pickle.dumps)
        raise Failure(f"pickle raised {short(error)}", where=where, error=error) from error
    batch = subject.batch()
    found = worst(subject.outputs(batch, model=other), subject.outputs(batch))
    if found is not None:
        raise found.failure(
            "the model that was pickled and read again gives another output",
            cause=state_difference_cause(subject.model, other),
        )
    return None
