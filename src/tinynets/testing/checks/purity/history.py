from __future__ import annotations

from contextlib import suppress

from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import call_no_grad, listed
from ...locate.divergence import first_difference
from ...measure.compare import Difference, Leaf, worst
from ...snapshot.snapshot import Snapshot


@check("purity.history", Level.MUST)
def history(subject: Subject) -> str | None:
    """The output for a batch does not depend on the batches and batch sizes before it.

    Why: results that depend on the order of requests cannot be reproduced, and leak data between users.
    Fix: the message names what is carried over: key a cache by everything it depends on, or drop it.
    Declare: `stateful=True` for a model that is meant to remember.
    """
    if subject.stateful:
        raise Skip("the model is declared stateful")
    model = subject.model
    differs = False

    def call() -> list[Leaf]:
        return call_no_grad(subject, subject.batch(), seed=subject.seed)

    def between() -> None:
        nonlocal differs
        size = subject.default_size
        for seed, number in ((1, size), (2, 1), (2, size + 1)):
            with suppress(Failure, Skip):  # other checks report batch sizes that do not run
                other = call_no_grad(subject, subject.batch(number, seed=seed), seed=subject.seed)
                differs = worst(other, subject.reference) is not None or differs

    def measure() -> Difference | None:
        start = Snapshot(model)
        model.eval()
        first = call()
        between()
        later = call()
        start.restore()  # so that float64 starts from the same state
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
            where=found.since(module),
            cause=f"calls write {kept}" if kept else "it is kept outside of the model: a global, a closure",
        )

    note = subject.assert_close(measure, objection, tolerance=0.0)
    if not differs:
        raise Skip("other batches give the same output, so no memory could show")
    return note
