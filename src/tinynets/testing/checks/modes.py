"""Whether the two modes are what they are meant to be, and nothing happens behind the caller's back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from ..._torch.generators import generators_of
from ..._torch.global_flags import changed_flags, read_flags, write_flags
from ..._torch.module_tables import named_modules
from ..._torch.random_states import SOURCES, RandomStates, seed_all_but_torch, seed_everything, seeds_torch
from ..._torch.reachable import Role
from ...errors import Failure
from ...modes.sensitivity import train_behaviour
from ..call_helpers import again, listed, still_training
from ..definition import Level, check
from ..locate.divergence import culprits, first_difference
from ..measure.compare import Difference, Leaf, worst
from ..snapshot.snapshot import Snapshot
from ..subject import Subject

_SEED = 40_499  # one that no model seeds with: then seeding would not be seen to change anything


@check("modes.deterministic", Level.MUST)
def deterministic(subject: Subject) -> str | None:
    """Two calls in eval mode give the same bits, and no random number generator moves.

    Why: a prediction that cannot be repeated cannot be debugged, cached or compared; and a draw in an
    evaluation shifts every random number of the training that goes on after it.
    Fix: the message names the module. `F.dropout(x, p)` drops in eval mode too: pass
    `training=self.training`, or use `nn.Dropout`. Noise that is meant goes into an argument.
    Declare: a model that is random by design (sampling, hashing): an exemption with the reason.
    """
    model = subject.model

    def call() -> list[Leaf]:
        return again(subject, subject.batch())

    before = Snapshot(model)
    model.eval()
    seed_everything(_SEED)
    states = RandomStates()
    call()
    if moved := states.moved():
        source = " and ".join(SOURCES[name] for name in moved)
        raise Failure(
            f"an eval call {'seeds' if seeds_torch(call) else 'draws from'} the random generator of {source}",
            where=listed(culprits(model, call, lambda: RandomStates().moved)),
            cause=still_training(model),
        )

    before.restore()

    def measure() -> Difference | None:
        start = Snapshot(model)
        model.eval()
        first = call()
        if subject.stateful:
            start.restore()
            model.eval()
        second = call()
        start.restore()  # so that it starts from the same in float64
        return worst(second, first)

    def objection(found: Difference) -> Failure:
        model.eval()
        before = Snapshot(model)
        call()
        written = listed([str(change) for change in before.changes()])
        before.restore()
        return Failure(
            "two eval calls give different outputs",
            where=_from(found, first_difference(model, call, call)),
            cause=f"a call writes {written}" if written else "",
        )

    return subject.close(measure, objection, tolerance=0.0)


@check("modes.seeded", Level.MUST)
def seeded(subject: Subject) -> str | None:
    """After `torch.manual_seed` alone, a call in training mode repeats bit by bit; and it never seeds.

    Why: resuming, replaying a step and gradient checkpointing restore the generator of torch, and no other.
    Generators of Python and numpy are the same in all forked workers; a forward that seeds gives the
    same "random" mask in every step.
    Fix: draw with torch functions only, from the default generator; seed in the training script.
    Declare: an exemption with the reason.
    """
    model = subject.model

    def call() -> list[Leaf]:
        return again(subject, subject.batch(training=True))

    before = Snapshot(model)
    model.train()
    seed_everything(_SEED)
    states = RandomStates()
    call()
    moved = states.moved()
    if others := [SOURCES[name] for name in moved if name != "torch"]:
        raise Failure(
            f"a training call uses {' and '.join(others)}, which torch.manual_seed does not reach",
            where=listed(culprits(model, call, lambda: RandomStates().moved_besides_torch)),
        )
    if moved and seeds_torch(call):
        raise Failure(
            "a training call seeds torch, so it draws the same numbers in every step",
            where=listed(culprits(model, call, lambda: RandomStates().moved)),
        )
    before.restore()

    def replay(others: int) -> list[Leaf]:
        model.train()
        seed_all_but_torch(model, others)
        torch.manual_seed(subject.seed)  # pyright: ignore[reportUnknownMemberType]
        return call()

    def measure() -> Difference | None:
        start = Snapshot(model)
        first = replay(1)
        start.restore()  # statistics and counters: it is the generators that are to be seen
        second = replay(2)
        start.restore()
        return worst(second, first)

    def objection(found: Difference) -> Failure:
        own = [path for path, _ in generators_of(model)]
        module = first_difference(model, partial(replay, 1), partial(replay, 2))
        return Failure(
            "torch.manual_seed does not make a training call repeat",
            where=_from(found, module),
            cause=f"a generator of its own: {listed(own)}" if own else "",
        )

    return subject.close(measure, objection, tolerance=0.0)


@check("modes.flags", Level.MUST, valueless=True)
def flags(subject: Subject) -> None:
    """A call leaves every `training` and `requires_grad` flag and the global flags of torch as they were.

    Why: a forward that calls `self.drop.eval()`, freezes a parameter or sets a default dtype changes what the
    next line of somebody else's code does.
    Fix: set modes and flags where the model is built or in the training script; a flag that a computation
    needs goes into a `with` block.
    Declare: an exemption with the reason.
    """
    model = subject.model
    for training in (False, True):
        subject.restore()
        model.train(training)
        arguments = subject.batch(training=training)
        own, global_flags = _own_flags(model), read_flags()
        with torch.enable_grad():
            subject.call(arguments)
            changed = _changed(own, _own_flags(model)) + changed_flags(global_flags)
        if changed:
            subject.restore()
            write_flags(global_flags)
            model.train(training)

            def watch() -> Callable[[], object]:
                flags, own = read_flags(), _own_flags(model)
                return lambda: changed_flags(flags) or own != _own_flags(model)

            found = culprits(model, partial(subject.call, arguments), watch)
            mode = "training" if training else "eval"
            raise Failure(
                f"a call in {mode} mode changes {len(changed)} flag{'s' * (len(changed) > 1)}",
                where=listed(changed),
                cause=f"done by {listed(found)}" if found else "",
            )


@check("modes.roundtrip", Level.MUST)
def roundtrip(subject: Subject) -> str | None:
    """`eval()` reaches every module, and after `train()` and `eval()` the outputs are the same bits.

    Why: every training loop does it once per epoch.
    Fix: a class that overrides `train` sets what it wants on each call, passes the mode on to
    `super().train(mode)` and returns self; modules in lists belong into an `nn.ModuleList`.
    Declare: modules that stay in eval mode, as a frozen BatchNorm does, are reported, not judged.
    """
    model = subject.model
    for mode in (True, False):
        returned = cast("Any", model.train(mode) if mode else model.eval())
        if returned is not model:
            name = "train" if mode else "eval"
            cause = f"{_overriding(type(model))}.train has to end with `return self`"
            raise Failure(f"{name}() returns {returned!r:.40}, not the model", cause=cause)
    if left := still_training(model):
        raise Failure("eval() leaves modules in training mode", where=left)
    model.train()
    frozen = [path for path, module in _named(model) if not module.training]

    def call() -> list[Leaf]:
        seed_everything(subject.seed)
        return again(subject, subject.batch())

    def measure() -> Difference | None:
        model.eval()
        first = call()
        model.train()
        model.eval()
        return worst(call(), first)

    def objection(found: Difference) -> Failure:
        model.eval()
        before = Snapshot(model)
        model.train()
        model.eval()
        written = [change for change in before.changes() if change.role is not Role.FLAG]
        cause = f"switching changes {listed([str(change) for change in written])}" if written else ""
        return Failure("train() and eval() do not bring the outputs back", where=found.where, cause=cause)

    note = subject.close(measure, objection, tolerance=0.0)
    stays = f"{listed(frozen)} stay{'s' * (len(frozen) == 1)} in eval mode when train() is called"
    return stays if frozen and note is None else note


@check("modes.sensitivity", Level.INFO)
def sensitivity(subject: Subject) -> str:
    """The modules that behave differently in training mode, and whether the outputs do.

    Why: the list shows at a glance what `eval()` switches off.
    Fix: an objection is a surprise: outputs that differ though nothing reads the flag, or that do not
    though something does; look at what the list has and has not.
    Declare: nothing to declare: this is never a failure.
    """
    found = {path: what for path, module in _named(subject.model) if (what := train_behaviour(module))}
    summary = "no module reads the mode"
    if found:
        reading = listed([f"{path} ({what})" for path, what in found.items()])
        summary = f"{len(found)} module{'s read' if len(found) > 1 else ' reads'} the mode: {reading}"
    if subject.train_example is not subject.example:
        return summary
    arguments = subject.batch()
    before = Snapshot(subject.model)
    differs = False
    for seed in range(3):  # a few units may all escape a dropout
        subject.model.train()
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        differs = differs or worst(again(subject, arguments), subject.reference) is not None
        before.restore()
    if differs != bool(found):
        verb = "differ" if differs else "do not differ"
        raise Failure(f"the outputs {verb} between the modes", where=summary)
    return summary


def _from(found: Difference, module: str) -> str:
    return f"{found.where}, from {module} on" if module else found.where


def _named(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(path or type(model).__name__, module) for path, module in named_modules(model)]


def _own_flags(model: nn.Module) -> dict[str, bool]:
    flags = {f"{path}.training".lstrip("."): module.training for path, module in named_modules(model)}
    return {**flags, **{f"{name}.requires_grad": p.requires_grad for name, p in model.named_parameters()}}


def _changed(before: dict[str, bool], after: dict[str, bool]) -> list[str]:
    return [f"{name}: {old} -> {after[name]}" for name, old in before.items() if after.get(name, old) != old]


def _overriding(cls: type[nn.Module]) -> str:
    return next(base.__name__ for base in cls.__mro__ if "train" in vars(base) or "eval" in vars(base))
