"""Whether the model follows the dtype that it is converted to, made in or run under."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..._torch.random_states import seed_everything
from ...errors import Failure, Skip
from ...inputs.examples import float_dtype
from ..definition import Level, check
from ..measure.compare import leaves, objective, worst
from ..measure.dtype_conversion import draws, left_behind, name_of, outputs_as
from ..measure.state_compare import short
from ..subject import Subject
from ..wording import quoted


@check("dtype.float64", Level.MUST)
def float64(subject: Subject, *, tolerance: float = 1e-4) -> str | None:
    """`model.double()` runs on float64 inputs, gives float64, and the values that float32 gives.

    Why: gradient checks and comparisons of implementations are done in float64, and a model with one float32
    in its middle is not float64 but looks like it. What breaks here breaks for bfloat16 as well.
    Fix: no `.float()` and no `dtype=torch.float32` in forward: take the dtype of a tensor that is there,
    `torch.zeros(n, dtype=x.dtype, device=x.device)`, `mask.to(x.dtype)`.
    Declare: an exemption, with the operation that has no float64.
    """
    source = float_dtype(subject.model)
    found = worst(outputs_as(subject, torch.float64), subject.reference)
    if source == torch.float32 and found is not None and found.error > tolerance:
        if draws(subject):
            return "it draws random numbers in eval mode, so values are not compared"
        raise Failure(
            "float64 gives other values than float32",
            where=found.where,
            size=f"{found.error:.1e} of the largest value (limit {tolerance:.0e})",
        )
    return None


@check("dtype.bfloat16", Level.SHOULD)
def bfloat16(subject: Subject) -> str:
    """`model.bfloat16()` runs on bfloat16 inputs, gives bfloat16, and nothing that is not finite.

    How far the values are from those of float32 is reported, not judged.

    Why: models are trained and served in it.
    Fix: as for `dtype.float64`.
    Declare: an exemption, with the operation that has no bfloat16.
    """
    return _low_precision(subject, torch.bfloat16)


@check("dtype.float16", Level.CAPABILITY)
def float16(subject: Subject) -> str:
    """`model.half()` runs on float16 inputs, gives float16, and nothing that is not finite.

    How far the values are from those of float32 is reported, not judged.

    Why: older GPUs and phones have float16 and no bfloat16. Its largest value is 65504.
    Fix: as for `dtype.float64`; where values overflow, normalise before, or compute that part in float32 and
    convert back.
    Declare: by `supports=` where you count on it.
    """
    return _low_precision(subject, torch.float16)


def _low_precision(subject: Subject, dtype: torch.dtype) -> str:
    found = outputs_as(subject, dtype)
    for leaf, ours in zip(found, subject.reference, strict=True):
        bad = int((~leaf.tensor.isfinite() & ours.tensor.isfinite()).sum())
        if bad:
            raise Failure(
                f"the output is not finite in {name_of(dtype)}",
                where=leaf.name,
                size=f"{bad} of {leaf.tensor.numel()} values",
            )
    error = worst(found, subject.reference)
    return f"error {error.error:.0e} of the largest value" if error is not None else "no error"


@check("dtype.autocast", Level.MUST)
def autocast(subject: Subject) -> str | None:
    """Under autocast to bfloat16 the model runs in training mode, forward and backward, and stays finite.

    Why: mixed precision is how models are trained. Autocast gives linear layers and convolutions bfloat16
    and leaves the rest, so two dtypes meet inside one forward pass.
    Fix: assign into a tensor of the dtype of what is assigned (`torch.empty_like(part)`, `torch.cat`); give
    an autograd function of your own `torch.amp.custom_fwd`.
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
            try:
                torch.autograd.backward(loss)
            except Exception as error:
                raise Failure(f"backward raised {short(error)}", error=error) from error
        _finite(None, subject)
        return True

    try:
        trained = step(True)
    except Failure as failure:
        try:
            step(False)
        except Failure:
            raise Skip("without autocast it does not train either: see contract.runs_train") from None
        failure.what += ", under autocast only"
        failure.cause = failure.cause or left_behind(subject.model, torch.bfloat16)
        raise
    return None if trained else "nothing to differentiate: forward only"


def _finite(output: object, subject: Subject) -> None:
    for leaf in leaves(output):
        if not leaf.tensor.isfinite().all():
            raise Failure("the output is not finite", where=leaf.name)
    grads = [(name, parameter.grad) for name, parameter in subject.model.named_parameters()]
    grads = [(name, parameter.grad) for name, parameter in subject.model.named_parameters()]
    bad = [name for name, grad in grads if grad is not None and not grad.isfinite().all()]
    if bad:
        raise Failure("gradients are not finite", where=quoted(bad))


@check("dtype.default", Level.SHOULD)
def default(subject: Subject) -> None:
    """A model that is made under `torch.set_default_dtype(torch.float64)` is float64 throughout, and runs.

    Why: it is how a whole program is switched to another precision.
    Fix: no `dtype=torch.float32` in the constructor where the default is meant.
    Declare: an exemption, where a table is in float32 on purpose.
    """
    source = torch.get_default_dtype()
    if source == torch.float64 or float_dtype(subject.model) != source:
        raise Skip(f"the model is {name_of(float_dtype(subject.model))}, whatever the default dtype is")
    expected = {name for name, tensor in _named(subject.model) if tensor.dtype == source}
    torch.set_default_dtype(torch.float64)
    try:
        made = subject.fresh(subject.seed)
        other = [name for name, tensor in _named(made) if name in expected and tensor.dtype != torch.float64]
        if other:
            raise Failure("not everything is made in the default dtype", where=quoted(other))
        outputs_as(subject, torch.float64, made)
    finally:
        torch.set_default_dtype(source)


def _named(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]
