from __future__ import annotations

from contextlib import suppress
from functools import partial

import torch
from torch import Tensor, nn

from ...._torch.state.model_walk import unregistered_tensors
from ...._torch.state.random_states import seed_everything
from ...._torch.state.walk_item import Role
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import call_no_grad, listed
from ...measure.compare import FLOAT32_LIMIT, worst
from ...measure.model_errors import as_failure
from ...measure.state_compare import perturb, tied_by_data
from ...snapshot.snapshot import Snapshot


@check("purity.live_weights", Level.MUST)
def live_weights(subject: Subject) -> None:
    """Changes of the weights after a call take effect, whether written in place or by `load_state_dict`.

    Why: a table that the first call computes from the weights and caches is stale after the next optimiser
    step or checkpoint, without an error.
    Fix: compute from the weights in each call, or drop the cache in `train()` and after loading.
    Declare: an exemption with the reason.
    """
    model, arguments = subject.model, subject.batch()
    if not any(parameter.is_floating_point() for parameter in model.parameters()):
        raise Skip("the model has no float parameters")
    never_run = _never_run(subject)
    seed_everything(subject.seed)
    perturb(never_run)
    weights = never_run.state_dict()  # with its metadata, by which models recognise old checkpoints
    for name, value in weights.items():
        if isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance] - not an extra state
            weights[name] = value.clone()
    never_run.eval()
    wanted = call_no_grad(subject, arguments, never_run, seed=subject.seed)
    if worst(wanted, subject.reference) is None:
        if kept := [path for path, _ in unregistered_tensors(model)]:
            raise Failure("other weights give the same output", cause=f"the model came with {listed(kept)}")
        raise Skip("other weights give the same output, so out-of-date ones could not show")
    for way, load in (("written in place", _write), ("loaded by load_state_dict", _load)):
        subject.restore()
        model.eval()
        before = Snapshot(model)
        call_no_grad(subject, arguments, seed=subject.seed)
        kept = [change.path for change in before.changes(Role.ATTRIBUTE, Role.BUFFER)]
        load(model, weights)
        found = worst(call_no_grad(subject, arguments, seed=subject.seed), wanted)
        if found is None:
            continue
        subject.restore()
        model.eval()
        load(model, weights)
        # If these weights give identical bits without an earlier call, a small difference is not rounding.
        limit = (
            0.0
            if worst(call_no_grad(subject, arguments, seed=subject.seed), wanted) is None
            else FLOAT32_LIMIT
        )
        if found.error > limit:
            cause = f"the first call keeps {listed(kept)}" if kept else tied_by_data(model)
            raise found.failure(f"weights {way} after a call do not have their full effect", limit, cause)


def _never_run(subject: Subject) -> nn.Module:
    """Return a model that was never called: a copy, another instance, or the model itself, restored."""
    for make in (subject.pristine, partial(subject.fresh, subject.seed)):
        with suppress(Skip):
            return make()
    subject.restore()
    return subject.model


def _write(model: nn.Module, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if isinstance(tensor, Tensor) and name in weights:  # not an extra state, not one made by a call
                tensor.copy_(weights[name])


def _load(model: nn.Module, weights: dict[str, Tensor]) -> None:
    with as_failure("after a call, load_state_dict of its own weights raised"):
        model.load_state_dict(weights)
