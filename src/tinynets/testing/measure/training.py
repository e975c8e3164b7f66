"""The short training that the gradient checks share: 3 batches with a step after each, the length of a step,
the scaled random loss, and what a backward pass raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..._torch.state.random_states import seed_everything
from ...errors import Failure, Skip
from ...inputs.arguments import Arguments
from ..measure.model_errors import as_failure, raised
from ..subject import Subject
from .compare import leaves, objective

PASSES = 3
"""Batches in a training, with a step after each: one step moves a head that starts at zero, two the
layers before it."""
BACKWARD = "the backward pass raised"
_STEP = 0.01
_SMALLEST = 0.1


@dataclass(frozen=True)
class Gradient:
    """The gradient of one parameter in one pass: its Euclidean norm, and its largest absolute value."""

    peak: float  # not finite if any value is not
    norm: float


Pass = dict[str, Gradient | None]
"""The gradient of every trained parameter; None if the pass left none."""


@dataclass(frozen=True)
class Training:
    """A short training, from the initial state of the model: a pass for every batch."""

    passes: tuple[Pass, ...]
    failure: Failure | None = None  # of the first pass, if it raised; then there are no passes


_TRAININGS: WeakKeyDictionary[Subject, Training] = WeakKeyDictionary()


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require a gradient, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def training(subject: Subject) -> Training:
    """Train the model for three batches; later calls return the first result.

    Raises:
        Skip: there is nothing to train, or no output to differentiate.
    """
    if not trained(subject.model):
        raise Skip("no parameter requires a gradient")
    if subject not in _TRAININGS:
        _TRAININGS[subject] = _train(subject)
    return _TRAININGS[subject]


def _train(subject: Subject) -> Training:
    passes: list[Pass] = []
    for seed in range(PASSES):
        try:
            backward(subject, seed)
        except Failure as failure:
            if not passes:
                return Training((), failure)
            break  # the initial model runs: a failure after our own steps is not its fault
        passes.append(measured(subject.model))
        descend(subject.model)
    subject.restore()
    return Training(tuple(passes))


def backward(
    subject: Subject,
    seed: int = 0,
    *,
    size: int | None = None,
    training: bool = True,
    call: Callable[[Arguments], Any] | None = None,
) -> None:
    """Set the gradients of the parameters for a random projection of the outputs.

    The projection is scaled by the number of outputs, so that gradients do not grow with it. The inputs do
    not require gradients, as in most training loops.

    Args:
        subject: what to run.
        seed: seed of the batch and of the model's random numbers.
        size: samples in the batch, as `Subject.batch` takes it.
        training: the mode.
        call: how to call the model; directly if None.

    Raises:
        Failure: the model raised, forward or backward.
        Skip: no output can be differentiated.
    """
    subject.model.train(training)
    subject.model.zero_grad(set_to_none=True)
    seed_everything(subject.seed + seed)
    arguments = subject.batch(size, seed=seed, training=training)
    with torch.enable_grad():
        total = scaled_objective((call or subject.call)(arguments), seed)
        if total.requires_grad:
            run_backward(total)


def run_backward(loss: Tensor) -> None:
    """Run the backward pass of a loss, which sets the gradients of the parameters.

    Raises:
        Failure: the backward pass raised.
    """
    with as_failure(BACKWARD):
        torch.autograd.backward(loss)


def scaled_objective(output: Any, seed: int = 0) -> Tensor:
    """Return a random projection of all float outputs, of unit variance if the outputs have unit variance.

    Raises:
        Skip: no output is of a float type.
    """
    total = objective(output, seed)
    if total is None:
        raise Skip("no output is of a float type: there is nothing to differentiate")
    count = sum(leaf.tensor.numel() for leaf in leaves(output) if differentiable(leaf.tensor))
    return total / math.sqrt(max(count, 1))


def differentiable(tensor: Tensor) -> bool:
    """Return whether a tensor is of a type that has gradients."""
    return tensor.is_floating_point() or tensor.is_complex()


def input_gradients(
    outputs: list[Tensor], inputs: list[Tensor], cotangents: list[Tensor] | None = None, *, keep: bool = False
) -> list[Tensor | None]:
    """Return the gradients of outputs with respect to inputs, None for an input they do not depend on.

    Args:
        outputs: what to differentiate.
        inputs: with respect to what.
        cotangents: the weights of the outputs; may be None for a scalar.
        keep: whether to keep the graph for another call.

    Raises:
        Failure: the backward pass raised.
        Skip: a checkpoint of the model does not allow it.
    """
    try:
        found = torch.autograd.grad(outputs, inputs, cotangents, retain_graph=keep, allow_unused=True)
    except Exception as error:
        if "use_reentrant" in str(error):
            raise Skip("checkpoint(use_reentrant=True) refuses gradients of inputs alone") from None
        raise raised(error, BACKWARD) from error
    return list(found)


def norm(tensor: Tensor) -> float:
    """Return the Euclidean norm of all values."""
    return float(tensor.detach().abs().square().sum().sqrt())


def measured(model: nn.Module) -> Pass:
    """Return the gradients that the last pass left in the parameters."""
    found: Pass = {}
    for name, parameter in trained(model).items():
        gradient = dense(parameter.grad)
        if gradient is None or gradient.numel() == 0:
            found[name] = None if gradient is None else Gradient(0.0, 0.0)
        else:
            found[name] = Gradient(float(gradient.abs().max()), norm(gradient))
    return found


def descend(model: nn.Module) -> None:
    """Move every parameter against its gradient, by up to a hundredth of its size.

    The step length does not depend on the size of the gradient, so the step is visible in any model and
    breaks none.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            gradient = dense(parameter.grad)
            if gradient is None or gradient.numel() == 0:
                continue
            peak = float(gradient.abs().max())
            if 0 < peak < math.inf:
                size = norm(parameter) / math.sqrt(parameter.numel())
                parameter.sub_(gradient / peak, alpha=_STEP * max(size, _SMALLEST))


def take_step(subject: Subject, steps: int = 1) -> bool:
    """Train the model for some steps, and return whether that worked."""
    try:
        for seed in range(steps):
            backward(subject, seed)
            descend(subject.model)
    except (Failure, Skip):
        return False
    subject.model.zero_grad(set_to_none=True)
    return True


def dense(gradient: Tensor | None) -> Tensor | None:
    """Return a gradient as a dense tensor; sparse embeddings have sparse ones."""
    return gradient.to_dense() if gradient is not None and gradient.layout is not torch.strided else gradient
