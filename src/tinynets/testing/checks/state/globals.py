from __future__ import annotations

from ...._torch.state.random_states import preserved_random_states, seeds_torch
from ... import Failure, Level, Subject, check
from ...call_helpers import listed


@check("state.globals", Level.SHOULD, static=True)
def globals_(subject: Subject) -> None:
    """Building an instance does not change the global flags of torch or seed a generator.

    Why: `torch.manual_seed(0)` in a constructor gives every layer that is built after it the same weights in
    each run, whatever the seed of the experiment, and a default dtype changes tensors everywhere.
    Fix: seed and set flags in the training script, or draw from a `torch.Generator` that the constructor
    creates.
    Declare: an exemption with the reason.
    """
    subject.fresh(subject.seed)  # triggers lazy imports
    assert subject.factory is not None
    if subject.constructor_changes:
        raise Failure("the constructor changes global flags", where=listed(subject.constructor_changes))
    with preserved_random_states():
        seeds = seeds_torch(subject.factory)
    if seeds:
        raise Failure("the constructor seeds the random generator of torch")
