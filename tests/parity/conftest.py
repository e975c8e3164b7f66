"""Two implementations, one set of weights: logits, gradients and running statistics must agree in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from tinynets.models import ImageClassifier

Weights = dict[str, Tensor]
TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Build everything in float64: what is left is a difference in what is computed."""
    before = torch.get_default_dtype()
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # two threads on a busy machine wait for each other
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(before)


@pytest.fixture
def randomise() -> Callable[[nn.Module], nn.Module]:
    """Return what gives norms a life behind them, and heads that start at 0 a value."""

    def randomise(partner: nn.Module) -> nn.Module:
        for module in partner.modules():
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
        return partner

    return randomise


@pytest.fixture
def difference() -> Callable[..., float]:
    return _difference


def _difference(
    build: Callable[[Weights], ImageClassifier],
    partner: nn.Module,
    images: Tensor,
    *,
    gradients: bool = True,
) -> float:
    """Return the largest difference in logits, gradients and BatchNorm statistics, relative to their size.

    `build` makes our model from the partner's state dict. Handed the partner's gradients under the names of
    its weights, it puts each where the weight went, so that one key map serves both.
    """
    model = build(dict(partner.state_dict()))
    differences: list[float] = []
    for training in (False, True):
        model.train(training)
        partner.train(training)
        model.zero_grad()
        partner.zero_grad()
        ours, theirs = model(images), partner(images)
        differences.append(_relative(ours, theirs))
        if not gradients:
            continue
        cotangent = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1))
        (ours * cotangent).sum().backward()
        (theirs * cotangent).sum().backward()
        their_gradients = {
            name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for name, parameter in partner.named_parameters()
        }
        expected = dict(build({**partner.state_dict(), **their_gradients}).named_parameters())
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                differences.append(_relative(parameter.grad, expected[name]))
    expected_buffers = dict(build(dict(partner.state_dict())).named_buffers())
    differences += [_relative(buffer, expected_buffers[name]) for name, buffer in model.named_buffers()]
    return max(differences)


def _relative(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    largest = max(1.0, theirs.abs().max().item()) if theirs.numel() else 1.0
    return (ours - theirs).abs().max().item() / largest if ours.numel() else 0.0
