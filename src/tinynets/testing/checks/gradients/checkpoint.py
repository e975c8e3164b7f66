from __future__ import annotations

from typing import Any

from torch.utils import checkpoint as recomputing

from ....inputs.arguments import Arguments
from ... import Failure, Level, Subject, check
from ...measure.model_errors import as_failure
from ...measure.training import backward, dense, trained
from ._shared import training_passes

_recompute: Any = getattr(recomputing, "checkpoint")  # noqa: B009 - only partly typed in torch


@check("gradients.checkpoint", Level.CAPABILITY)
def checkpoint(subject: Subject, *, tolerance: float = 5e-5) -> None:
    """Training with activation checkpointing gives the same gradients as without.

    The check calls the whole model through `torch.utils.checkpoint`, which runs the forward pass again during
    the backward pass. Differences are relative to the largest gradient of all parameters.

    Why: checkpointing trades time for memory, and a forward pass that is not repeatable yields gradients of a
    function that was never computed.
    Fix: draw random numbers from torch, not from Python or numpy; do not change inputs or count calls.
    Declare: `supports={"gradients.checkpoint"}` makes it a requirement.
    """
    training_passes(subject)
    backward(subject)
    plain = {name: dense(p.grad) for name, p in trained(subject.model).items()}
    subject.restore()

    def call(arguments: Arguments) -> Any:
        with as_failure():
            return _recompute(subject.model, *arguments.args, use_reentrant=False, **arguments.kwargs)

    backward(subject, call=call)
    largest = max((float(g.abs().max()) for g in plain.values() if g is not None and g.numel()), default=0.0)
    for name, parameter in trained(subject.model).items():
        before, now = plain[name], dense(parameter.grad)
        if (before is None) != (now is None):
            raise Failure(
                "a parameter gets a gradient only without, or only with checkpointing", where=f"`{name}`"
            )
        if before is not None and now is not None and before.numel():
            error = float((now - before).abs().max()) / (largest or 1.0)
            if not error <= tolerance:
                raise Failure(
                    "checkpointing changes the gradients",
                    where=f"`{name}`",
                    size=f"{error:.1e} of the largest gradient (limit {tolerance:.0e})",
                    cause="the forward pass, run again, does not repeat itself",
                )
