from __future__ import annotations

from ... import Failure, Level, Subject, check
from ...measure.compare import outline


@check("runs.structure", Level.MUST, valueless=True)
def structure(subject: Subject) -> str | None:
    """Two batches give outputs of the same structure, ranks and dtypes, in each mode.

    Why: code that unpacks the output, `DataParallel`, `torch.compile` and exporters rely on it.
    Fix: do not choose what to return by a branch on values or sizes; pass an axis to `squeeze`.
    Declare: nothing: a change between training and eval mode (auxiliary heads) is only reported.
    """
    kinds: list[object] = []
    for training in (False, True):
        first, second = (
            subject.run(subject.batch(seed=seed, training=training), training=training) for seed in (0, 1)
        )
        if (a := outline(first, sizes=False)) != (b := outline(second, sizes=False)):
            mode = "training" if training else "eval"
            raise Failure(f"two batches give outputs of two kinds in {mode} mode", where=f"{a}, then {b}")
        kinds.append(a)
    return None if kinds[0] == kinds[1] else f"eval gives {kinds[0]}, training {kinds[1]}"
