from __future__ import annotations

from ...._torch.state.random_states import SOURCES, RandomStates, seed_everything, seeds_torch
from ... import Failure, Level, Subject, check
from ...call_helpers import SEED, call_no_grad, listed, still_training
from ...locate.divergence import culprits, first_difference
from ...measure.compare import Difference, Leaf, worst
from ...snapshot.snapshot import Snapshot


@check("modes.deterministic", Level.MUST)
def deterministic(subject: Subject) -> str | None:
    """Two calls in eval mode are bit-identical, and no random number generator advances.

    Why: a prediction that cannot be repeated cannot be debugged, cached or compared. A random draw during an
    evaluation also shifts every random number of the training that continues after it.
    Fix: the message names the module. `F.dropout(x, p)` drops in eval mode too: pass
    `training=self.training`, or use `nn.Dropout`. Pass intended noise as an argument.
    Declare: a model that is random by design (sampling, hashing): an exemption with the reason.
    """
    model = subject.model

    def call() -> list[Leaf]:
        return call_no_grad(subject, subject.batch())

    before = Snapshot(model)
    model.eval()
    seed_everything(SEED)
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
        start.restore()  # so that float64 starts from the same state
        return worst(second, first)

    def objection(found: Difference) -> Failure:
        model.eval()
        before = Snapshot(model)
        call()
        written = listed([str(change) for change in before.changes()])
        before.restore()
        return Failure(
            "two eval calls give different outputs",
            where=found.since(first_difference(model, call, call)),
            cause=f"a call writes {written}" if written else "",
        )

    return subject.assert_close(measure, objection, tolerance=0.0)
