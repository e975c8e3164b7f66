from __future__ import annotations

import torch

from ...._torch.state.walk_item import Role
from ... import Failure, Level, Subject, check
from ...call_helpers import listed
from ...snapshot.changes import MISSING, Change, count_changes
from ...snapshot.snapshot import Snapshot

_REGISTERED = (Role.PARAMETER, Role.BUFFER, Role.MODULE)


@check("purity.parameters", Level.MUST)
def parameters(subject: Subject) -> None:
    """A call in eval mode does not change or replace any parameter, buffer, gradient or submodule.

    Why: an evaluation that updates running statistics or builds a layer changes the model that it measures,
    and an optimiser keeps the parameter that was replaced.
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
            f"an eval call changes {count_changes(changed)}",
            where=listed([str(change) for change in changed]),
            cause=_likely(changed[0]),
        )


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
