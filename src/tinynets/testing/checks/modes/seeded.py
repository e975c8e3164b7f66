from __future__ import annotations

from functools import partial

import torch

from ...._torch.state.random_states import (
    SOURCES,
    RandomStates,
    generators_of,
    seed_all_but_torch,
    seed_everything,
    seeds_torch,
)
from ... import Failure, Level, Subject, check
from ...call_helpers import SEED, call_no_grad, listed
from ...locate.divergence import culprits, first_difference
from ...measure.compare import Difference, Leaf, worst
from ...snapshot.snapshot import Snapshot


@check("modes.seeded", Level.MUST)
def seeded(subject: Subject) -> str | None:
    """After `torch.manual_seed` alone, a call in training mode repeats bit for bit, and it never sets a seed.

    Why: resuming, replaying a step and gradient checkpointing restore only the generator of torch. The
    generators of Python and numpy are the same in all forked workers. A forward that sets a seed draws the
    same "random" mask in every step.
    Fix: draw with torch functions only, from the default generator; seed in the training script.
    Declare: an exemption with the reason.
    """
    model = subject.model

    def call() -> list[Leaf]:
        return call_no_grad(subject, subject.batch(training=True))

    before = Snapshot(model)
    model.train()
    seed_everything(SEED)
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
        start.restore()  # statistics and counters, so that only generators can differ
        second = replay(2)
        start.restore()
        return worst(second, first)

    def objection(found: Difference) -> Failure:
        own = [path for path, _ in generators_of(model)]
        module = first_difference(model, partial(replay, 1), partial(replay, 2))
        return Failure(
            "torch.manual_seed does not make a training call repeat",
            where=found.since(module),
            cause=f"a generator of its own: {listed(own)}" if own else "",
        )

    return subject.assert_close(measure, objection, tolerance=0.0)
