"""Whether a call leaves the model as it was: nothing written, nothing remembered, nothing out of date."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor, nn

from ..._torch.random_states import seed_everything
from ..._torch.reachable import Role
from ..._torch.unregistered import unregistered_tensors
from ...errors import Failure, Skip
from ...inputs.draw import Arguments
from ..call_helpers import again, listed
from ..definition import Level, check
from ..locate.divergence import first_difference
from ..measure.compare import FLOAT32_LIMIT, Difference, Leaf, detached, worst
from ..measure.state_compare import perturb
from ..snapshot.changes import MISSING, Change
from ..snapshot.snapshot import Snapshot
from ..subject import Subject

_REGISTERED = (Role.PARAMETER, Role.BUFFER, Role.MODULE)


@check("purity.parameters", Level.MUST)
def parameters(subject: Subject) -> None:
    """A call in eval mode changes no parameter, buffer, gradient or submodule: not the value, not the object.

    Why: an evaluation that updates running statistics or builds a layer changes the model that it measures,
    and an optimiser keeps the parameter that was there before.
    Fix: update buffers under `if self.training:`, pass `training=self.training` to `F.batch_norm`, build
    everything in `__init__`.
    Declare: an exemption with the reason; `stateful=True` allows buffers to change.
    """
    model, arguments = subject.model, subject.batch()
    model.eval()
    before = Snapshot(model)
    with torch.enable_grad():
        subject.call(arguments)
    kinds = tuple(kind for kind in _REGISTERED if not (subject.stateful and kind is Role.BUFFER))
    if changed := before.changes(*kinds):
        raise Failure(
            f"an eval call changes {_counted(changed)}",
            where=listed([str(change) for change in changed]),
            cause=_likely(changed[0]),
        )


@check("purity.attributes", Level.SHOULD)
def attributes(subject: Subject) -> None:
    """A call in eval mode leaves the attributes of all modules and their classes as they are.

    Why: what a call writes to `self`, the next call, another thread, `deepcopy` and `torch.compile` find
    there.
    Fix: keep what belongs to one call in local variables; compute tables in `__init__`, as buffers.
    Declare: `stateful=True` for a model that is meant to remember, or an exemption with the reason.
    """
    if subject.stateful:
        raise Skip("the model is declared stateful")
    model, arguments = subject.model, subject.batch()
    model.eval()
    before = Snapshot(model)
    again(subject, arguments)
    if changed := before.changes(Role.ATTRIBUTE, Role.HOOK):
        raise Failure(
            f"an eval call changes {_counted(changed)}",
            where=listed([str(change) for change in changed]),
        )


@check("purity.history", Level.MUST)
def history(subject: Subject) -> str | None:
    """What a model gives for a batch does not depend on the batches and batch sizes before it.

    Why: results that depend on the order of requests cannot be reproduced, and are a leak between users.
    Fix: the message has what is carried over: key a cache by all that it depends on, or drop it.
    Declare: `stateful=True` for a model that is meant to remember.
    """
    if subject.stateful:
        raise Skip("the model is declared stateful")
    model = subject.model
    differs = False

    def call() -> list[Leaf]:
        return _seeded(subject, subject.batch())

    def between() -> None:
        nonlocal differs
        size = subject.default_size
        for seed, number in ((1, size), (2, 1), (2, size + 1)):
            with suppress(Failure, Skip):  # other batch sizes are for other checks
                other = _seeded(subject, subject.batch(number, seed=seed))
                differs = worst(other, subject.reference) is not None or differs

    def measure() -> Difference | None:
        start = Snapshot(model)
        model.eval()
        first = call()
        between()
        later = call()
        start.restore()  # so that it starts from the same in float64
        return worst(later, first)

    def objection(found: Difference) -> Failure:
        subject.restore()
        model.eval()

        def later() -> None:
            between()
            call()

        module = first_difference(model, call, later)
        subject.restore()
        model.eval()
        before = Snapshot(model)
        between()
        kept = listed([str(change) for change in before.changes()])
        return Failure(
            "the output for a batch depends on the batches before it",
            where=f"{found.where}{f', from {module} on' if module else ''}",
            cause=f"calls write {kept}" if kept else "it is kept outside of the model: a global, a closure",
        )

    note = subject.close(measure, objection, tolerance=0.0)
    if not differs:
        raise Skip("other batches give the same output, so no memory could show")
    return note


@check("purity.live_weights", Level.MUST)
def live_weights(subject: Subject) -> None:
    """After a call, changed weights count: written in place, or loaded by `load_state_dict`.

    Why: a table that the first call computes from the weights and keeps is out of date after the next
    optimiser step or checkpoint, and nothing says so.
    Fix: compute from the weights in each call, or drop the cache in `train()` and after loading.
    Declare: an exemption with the reason.
    """
    model, arguments = subject.model, subject.batch()
    if not any(parameter.is_floating_point() for parameter in model.parameters()):
        raise Skip("the model has no float parameters")
    never_run = _never_run(subject)
    seed_everything(subject.seed)
    perturb(never_run)
    weights = never_run.state_dict()  # with its metadata, by which a model may tell old checkpoints
    for name, value in weights.items():
        if isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance] - not an extra state
            weights[name] = value.clone()
    never_run.eval()
    wanted = _seeded(subject, arguments, never_run)
    if worst(wanted, subject.reference) is None:
        if kept := [path for path, _ in unregistered_tensors(model)]:
            raise Failure("other weights give the same output", cause=f"the model came with {listed(kept)}")
        raise Skip("other weights give the same output, so out-of-date ones could not show")
    for way, load in (("written in place", _write), ("loaded by load_state_dict", _load)):
        subject.restore()
        model.eval()
        before = Snapshot(model)
        _seeded(subject, arguments)
        kept = [change.path for change in before.changes(Role.ATTRIBUTE, Role.BUFFER)]
        load(model, weights)
        found = worst(_seeded(subject, arguments), wanted)
        if found is None:
            continue
        subject.restore()
        model.eval()
        load(model, weights)
        # A small effect is no rounding where these weights, without a call before, give the very same bits.
        limit = 0.0 if worst(_seeded(subject, arguments), wanted) is None else FLOAT32_LIMIT
        if found.error > limit:
            raise Failure(
                f"weights {way} after a call do not have their full effect",
                where=found.where,
                size=f"{found.error:.1e} of the largest value (limit {limit:.0g})",
                cause=f"the first call keeps {listed(kept)}" if kept else "",
            )


def _never_run(subject: Subject) -> nn.Module:
    """A model that no check has called: a copy, another one, or the model itself, put back as it came."""
    for make in (subject.pristine, partial(subject.fresh, subject.seed)):
        with suppress(Skip):
            return make()
    subject.restore()
    return subject.model


def _write(model: nn.Module, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if isinstance(tensor, Tensor):  # not an extra state
                tensor.copy_(weights[name])


def _load(model: nn.Module, weights: dict[str, Tensor]) -> None:
    model.load_state_dict(weights)


def _seeded(subject: Subject, arguments: Arguments, model: nn.Module | None = None) -> list[Leaf]:
    seed_everything(subject.seed)
    with torch.no_grad():
        return detached(subject.call(arguments, model))


def _counted(changes: list[Change]) -> str:
    kinds = Counter(change.role.value for change in changes)
    return " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())


def _likely(change: Change) -> str:
    if change.path.endswith(".grad"):
        return "forward calls backward()"
    if change.old is MISSING:
        return "it is built by the first call, so an optimiser that is made before does not have it"
    if change.path.endswith(("running_mean", "running_var", "num_batches_tracked")):
        return "batch statistics are updated in eval mode: pass training=self.training to F.batch_norm"
    if change.old is not change.new:
        return "it is assigned anew: an optimiser keeps the one before; write in place under torch.no_grad()"
    return ""
