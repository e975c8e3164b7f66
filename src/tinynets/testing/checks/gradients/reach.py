from __future__ import annotations

from ... import Level, Subject, check
from ...locate.gradients import changed_in_place, reasons_for_none
from ...measure.training import training
from ._shared import parameters_get


@check("gradients.reach", Level.MUST)
def reach(subject: Subject) -> None:
    """In training mode, every parameter gets a gradient in at least one of three batches.

    Why: a parameter without a gradient is never trained, and no error says so. Typical causes are a layer
    that is built but never called, a leftover `detach()` or `torch.no_grad()`, `.data`, a detour through
    numpy, and an output that is not returned.
    Fix: the message says for each parameter whether its module was called, and whether under `no_grad`.
    Declare: `requires_grad_(False)` or a buffer, for tensors that must not be trained; an exemption, for a
    branch that only other arguments reach (experts, optional inputs).
    """
    found = training(subject)
    if found.failure is not None:
        found.failure.cause = changed_in_place(subject)
        raise found.failure
    lost = [name for name in found.passes[0] if all(one[name] is None for one in found.passes)]
    if not lost:
        return
    reasons = reasons_for_none(subject, lost)
    more = [f"and {len(reasons) - 3} more"] if len(reasons) > 3 else []
    raise parameters_get(
        "no gradient in training",
        lost,
        len(found.passes[0]),
        size=f"None in {len(found.passes)} batches, with a step of training after each",
        cause="; ".join([*reasons[:3], *more]),
    )
