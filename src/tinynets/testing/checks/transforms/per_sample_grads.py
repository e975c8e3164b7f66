from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ...._torch.modules.module_tables import named_modules
from ....inputs.arguments import Arguments
from ... import Failure, Level, Skip, Subject, check
from ...measure.compare import Difference, objective
from ...measure.model_errors import raised, short


@check("transforms.per_sample_grads", Level.CAPABILITY)
def per_sample_gradients(subject: Subject, *, tolerance: float = 1e-4) -> str | None:
    """`vmap(grad(...))` over samples gives the same gradients as a loop over the samples.

    The check runs in eval mode, with two samples. The error is relative to the largest gradient of all
    parameters.

    Why: differential privacy, influence functions and gradient statistics need the gradient of each sample.
    Fix: avoid `.item()`, branches on values and assignments into a tensor made by `torch.zeros` in forward.
    Declare: with `supports=`, if you rely on it.
    """
    if not any(parameter.requires_grad for parameter in subject.model.parameters()):
        raise Skip("the model has no parameters to differentiate by")

    what = "vmap gives other gradients than a loop"

    def measure() -> Difference | None:
        return _vmap_against_loop(subject)

    try:
        return subject.assert_close(measure, what, tolerance=tolerance)
    except Failure as failure:
        subject.restore()
        if failure.error is None and _spell_out_batch_norms(subject.model):
            with suppress(Failure):
                subject.assert_close(measure, what, tolerance=tolerance)
                raise Skip("torch's vmap over batch_norm in eval mode gives these gradients wrong") from None
        raise


def _vmap_against_loop(subject: Subject) -> Difference | None:
    """Return the largest error of a gradient, as a share of the largest gradient of all."""
    own = {name: p for name, p in subject.model.named_parameters() if p.requires_grad}
    parameters = {name: parameter.detach() for name, parameter in own.items()}
    batch = subject.batch(2)
    axes = batch.axes

    def loss(weights: dict[str, Tensor], *tensors: Tensor) -> Tensor:
        single = [t if axis is None else t.unsqueeze(axis) for t, axis in zip(tensors, axes, strict=True)]
        one = batch.with_tensors(single)
        result = objective(functional_call(subject.model, weights, one.args, one.kwargs))
        if result is None:
            raise Skip("no output is floating-point")
        return result

    subject.model.eval()
    inputs = [tensor.detach() for tensor in batch.tensors]
    try:
        transform = vmap(grad(loss), in_dims=(None, *axes), randomness="same")
        together = cast("dict[str, Tensor]", transform(parameters, *inputs))
    except Skip:
        raise
    except Exception as error:
        failure = raised(error)
        failure.what = f"vmap(grad(...)) raised {short(error)}"
        raise failure from error
    subject.restore()  # functional_call may leave vmap's tensors in modules that share their weights
    scale = max(float(gradient.abs().max()) for gradient in together.values() if gradient.numel())
    if scale == 0:
        raise Skip("every gradient is 0")
    errors: list[tuple[float, str]] = []
    for index in range(2):
        alone = _gradients(subject, batch.rows([index]), list(own.values()))
        for name, gradient in zip(parameters, alone, strict=True):
            gap = (together[name][index] - gradient).abs().max()
            errors.append((float(gap.nan_to_num(nan=float("inf"))) / scale, name))
    error, name = max(errors)
    return Difference(f"the gradient of `{name}`", (), error)


def _spell_out_batch_norms(model: nn.Module) -> bool:
    """Replace the forward of batch norms by equivalent arithmetic for eval mode; return whether any exist."""

    def spelled_out(norm: Any) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            def along(vector: Tensor) -> Tensor:
                return vector.reshape(-1, *[1] * (x.ndim - 2))

            y = (x - along(norm.running_mean)) * along((norm.running_var + norm.eps).rsqrt())
            return y * along(norm.weight) + along(norm.bias) if norm.affine else y

        return forward

    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    norms = [m for _, m in named_modules(model) if isinstance(m, kinds) and m.track_running_stats]
    for norm in norms:
        vars(norm)["forward"] = spelled_out(norm)
    return bool(norms)


def _gradients(subject: Subject, sample: Arguments, weights: list[nn.Parameter]) -> list[Tensor]:
    subject.model.train().eval()  # models may clear in train() what vmap left in their attributes
    with torch.enable_grad():
        loss = objective(subject.call(sample))
    if loss is None or not loss.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    found = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return list(found)
