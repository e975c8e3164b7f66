from __future__ import annotations

import torch

from ...._torch.state.random_states import seed_everything
from ... import Failure, Level, Subject, check
from ...call_helpers import quoted
from ...measure.compare import leaves, objective
from ...measure.dtype_conversion import left_behind
from ...measure.model_errors import as_failure, as_skip, short


@check("dtype.autocast", Level.MUST)
def autocast(subject: Subject) -> str | None:
    """Under autocast to bfloat16 the model runs in training mode, forward and backward, and stays finite.

    Why: models are trained in mixed precision. Autocast runs linear layers and convolutions in bfloat16 and
    leaves other operations alone, so two dtypes meet in one forward pass.
    Fix: assign into a tensor of the same dtype as the values (`torch.empty_like(part)`, `torch.cat`);
    decorate custom autograd functions with `torch.amp.custom_fwd`.
    Declare: an exemption.
    """
    batch = subject.batch(training=True)
    device = next((t.device.type for t in (*subject.model.parameters(), *batch.tensors)), "cpu")

    def step(enabled: bool) -> bool:
        subject.restore()
        subject.model.train()
        seed_everything(subject.seed)
        with torch.enable_grad():
            with torch.autocast(device, dtype=torch.bfloat16, enabled=enabled):
                output = subject.call(batch.clone())
            loss = objective(output)
            _finite(output, subject)
            if loss is None or not loss.requires_grad:
                return False
            with as_failure("backward raised", short):
                torch.autograd.backward(loss)
        _finite(None, subject)
        return True

    try:
        trained = step(True)
    except Failure as failure:
        with as_skip("without autocast it does not train either: see runs.train"):
            step(False)
        failure.what += ", under autocast only"
        failure.cause = failure.cause or left_behind(subject.model, torch.bfloat16)
        raise
    return None if trained else "nothing to differentiate: forward only"


def _finite(output: object, subject: Subject) -> None:
    for leaf in leaves(output):
        if not leaf.tensor.isfinite().all():
            raise Failure("the output is not finite", where=leaf.name)
    grads = [(name, parameter.grad) for name, parameter in subject.model.named_parameters()]
    bad = [name for name, grad in grads if grad is not None and not grad.isfinite().all()]
    if bad:
        raise Failure("gradients are not finite", where=quoted(bad))
