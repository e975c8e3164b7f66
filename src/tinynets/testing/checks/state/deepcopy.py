from __future__ import annotations

import copy

from ... import Failure, Level, Subject, check
from ...call_helpers import quoted
from ...measure.compare import worst
from ...measure.model_errors import short
from ...measure.state_compare import (
    closures,
    find_failing_attribute,
    perturb,
    spelled,
    state_difference_cause,
    storage,
    tensors_of,
    tied_by_data,
    ties,
)


@check("state.deepcopy", Level.MUST)
def deepcopied(subject: Subject) -> None:
    """A deep copy gives bit-identical outputs, shares no memory with the model, and keeps tied weights tied.

    Why: weight averaging, ensembles, early stopping and quantisation start from a copy. A copy that still
    refers to the original changes when the original is trained.
    Fix: do not store a closure over `self` or a method of another instance as an attribute; compute tensors
    that depend on parameters in `forward` (`torch.nn.utils.weight_norm` stores one, so it cannot be copied:
    use `torch.nn.utils.parametrizations.weight_norm`).
    Declare: an exemption.
    """
    try:
        other = copy.deepcopy(subject.model)
    except Exception as error:
        where = find_failing_attribute(subject.model, copy.deepcopy)
        raise Failure(f"deepcopy raised {short(error)}", where=where, error=error) from error
    ours = {storage(tensor): path for path, tensor in tensors_of(subject.model)}
    shared = [path for path, tensor in tensors_of(other) if tensor.numel() and storage(tensor) in ours]
    if other is subject.model or shared:
        raise Failure("the copy shares memory with the original", where=quoted(shared))
    if ties(subject.model) != ties(other):
        difference = ties(subject.model) ^ ties(other)
        what = f"the copy does not tie the same weights: {spelled(difference)}"
        raise Failure(what, cause=tied_by_data(subject.model))
    perturb(subject.model)
    batch = subject.batch()
    found = worst(subject.outputs(batch, model=other), subject.reference)
    if found is None:
        return
    subject.restore()
    follows = worst(subject.outputs(batch, model=other), subject.reference) is None
    if follows:
        raise found.failure("the copy changes when the original is changed", cause=closures(other))
    raise found.failure("the copy gives another output", cause=state_difference_cause(subject.model, other))
