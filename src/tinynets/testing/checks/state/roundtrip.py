from __future__ import annotations

import io

import torch

from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import quoted
from ...measure.compare import worst
from ...measure.model_errors import short
from ...measure.state_compare import state_difference_cause
from ._shared import extra_state, train_and_perturb


@check("state.roundtrip", Level.MUST)
def roundtrip(subject: Subject) -> str | None:
    """Loading the `state_dict()` into another instance, built with another seed, gives bit-identical outputs.

    The check saves by `torch.save`, reads with `torch.load(weights_only=True)` and loads with `strict=True`.
    Before that, it runs the model once in training mode and changes its weights, as training would.

    Why: a checkpoint that loads without an error but gives other outputs is noticed only in production.
    Fix: register the tensor that the message names, drop its `persistent=False`, or compute it from the
    arguments of the constructor alone.
    Declare: an exemption, if part of the state is stored elsewhere on purpose.
    """
    other = subject.fresh(subject.seed + 1)
    batch = subject.batch()
    train_and_perturb(subject)
    ours = subject.outputs(batch)
    state = subject.model.state_dict()  # an OrderedDict with _metadata, the versions of the modules
    file = io.BytesIO()
    try:
        torch.save(state, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
    except Exception as error:
        raise Failure(
            f"the state dict cannot be saved and read with weights_only=True: {short(error)}",
            cause=extra_state(state),
            error=error,
        ) from error
    before = set(other.state_dict())
    try:
        other.load_state_dict(loaded, strict=True)
    except Exception as error:
        late = [name for name in state if name not in before]
        raise Failure(
            f"a new instance does not take the state dict: {short(error)}",
            cause=f"{quoted(late)} appear after the first call only: make them in __init__" if late else "",
            error=error,
        ) from error
    try:
        theirs = subject.outputs(batch, model=other)
    except Failure as failure:
        failure.what = f"after loading, {failure.what}"
        raise
    found = worst(theirs, ours)
    if found is not None:
        raise found.failure(
            "a new instance with the same state dict gives another output",
            cause=state_difference_cause(subject.model, other),
        )
    if not state:
        raise Skip("the model has no state")
    if worst(ours, subject.reference) is None:
        return "changing every weight changed no output, so this says little"
    return None
