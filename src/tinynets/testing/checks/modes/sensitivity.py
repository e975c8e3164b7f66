from __future__ import annotations

import torch

from ....modes.train_sensitivity import train_behaviour
from ... import Failure, Level, Subject, check
from ...call_helpers import call_no_grad, listed, named_or_type
from ...measure.compare import worst
from ...snapshot.snapshot import Snapshot


@check("modes.sensitivity", Level.INFO)
def sensitivity(subject: Subject) -> str:
    """List the modules that behave differently in training mode, and whether the outputs do.

    Why: the list shows at a glance what `eval()` switches off.
    Fix: the check objects if the outputs differ although no module reads the flag, or do not differ although
    one does; compare the list with what you expect.
    Declare: nothing: this is never a failure.
    """
    found = {path: what for path, module in named_or_type(subject.model) if (what := train_behaviour(module))}
    summary = "no module reads the mode"
    if found:
        reading = listed([f"{path} ({what})" for path, what in found.items()])
        summary = f"{len(found)} module{'s read' if len(found) > 1 else ' reads'} the mode: {reading}"
    if subject.train_example is not subject.example:
        return summary
    arguments = subject.batch()
    before = Snapshot(subject.model)
    differs = False
    for seed in range(3):  # one dropout mask may keep every unit
        subject.model.train()
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        differs = differs or worst(call_no_grad(subject, arguments), subject.reference) is not None
        before.restore()
    if differs != bool(found):
        verb = "differ" if differs else "do not differ"
        raise Failure(f"the outputs {verb} between the modes", where=summary)
    return summary
