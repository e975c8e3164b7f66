from __future__ import annotations

from ...._torch.modules.layers import BatchNorm
from ...._torch.modules.module_tables import named_modules
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import quoted
from ...measure.training import trained


@check("modes.frozen", Level.SHOULD, static=True)
def frozen(subject: Subject) -> None:
    """A frozen batch norm stays frozen when `train()` is called.

    A batch norm counts as frozen if it is in eval mode in a model that is passed in training mode, or if its
    weight and bias do not require gradients while other parameters do.

    Why: `train()` at the start of every epoch turns it on again: its statistics drift, and so do the features
    that should stay fixed.
    Fix: override `train` to put it back to eval mode, or use a norm that never updates its running
    statistics.
    Declare: an exemption, if its statistics should be updated.
    """
    model = subject.model
    norms = [
        (path, module)
        for path, module in named_modules(model)
        if isinstance(module, BatchNorm) and module.track_running_stats
    ]
    trains = bool(trained(model))
    came = [
        path
        for path, norm in norms
        if (model.training and not norm.training)
        or (trains and norm.affine and not any(p.requires_grad for p in norm.parameters()))
    ]
    if not came:
        raise Skip("no batch norm is frozen")
    model.train()
    thawed = [path for path, norm in norms if path in came and norm.training]
    if thawed:
        raise Failure(
            f"{len(thawed)} of {len(came)} frozen batch norms update their statistics after train()",
            where=quoted(thawed),
        )
