from __future__ import annotations

import pickle

from torch import nn

from ... import Failure, Level, Subject, check
from ...measure.compare import worst
from ...measure.model_errors import short
from ...measure.state_compare import find_failing_attribute, perturb, state_difference_cause


@check("state.pickle", Level.CAPABILITY)
def pickled(subject: Subject) -> str | None:
    """The whole model can be pickled, and comes back with the same bits.

    Why: `torch.save(model)`, and data loaders and launchers that start processes by spawn, pickle it.
    Fix: no lambda and no local class among the attributes: name the function at the top of its module.
    Declare: by `supports=` where you count on it. Parametrizations cannot be pickled.
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
