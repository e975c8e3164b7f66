from __future__ import annotations

from ...._torch.state.random_states import preserved_random_states, seeds_torch
from ... import Failure, Level, Subject, check
from ...call_helpers import listed


@check("state.globals", Level.SHOULD, static=True)
def globals_(subject: Subject) -> None:
    """Making an instance leaves the global flags of torch alone, and seeds no generator.

    Why: `torch.manual_seed(0)` in a constructor gives every layer that is made after it the same weights in
    each run, whatever seed the experiment sets, and a default dtype changes everybody's tensors.
    Fix: seed and set flags in the training script, or draw from a `torch.Generator` of the constructor's own.
    Declare: an exemption with the reason.
    """
    subject.fresh(subject.seed)  # what is imported late is imported now
    assert subject.factory is not None
    if subject.constructor_changes:
        raise Failure("the constructor changes global flags", where=listed(subject.constructor_changes))
    with preserved_random_states():
        seeds = seeds_torch(subject.factory)
    if seeds:
        raise Failure("the constructor seeds the random generator of torch")
