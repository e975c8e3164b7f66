"""Passes through training, for the checks that look at gradients: made once for a subject and shared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..._torch.random_states import seed_everything
from ...errors import Failure, Skip
from ...inputs.draw import Arguments
from ..subject import Subject, raised
from .compare import leaves, objective

PASSES = 3
"""Batches in a training, with a step after each: one step wakes a head that starts at zero, two what is
behind it."""
_STEP = 0.01
_SMALLEST = 0.1


@dataclass(frozen=True)
class Gradient:
    """The gradient of one parameter in one pass.

    Args:
        peak: its largest absolute value; not finite if one of the values is not.
        norm: its Euclidean norm.
    """

    peak: float
    norm: float


Pass = dict[str, Gradient | None]
"""The gradient of every parameter that is trained; None where the pass left none."""


@dataclass(frozen=True)
class Training:
    """A short training, from the model as it came.

    Args:
        passes: one for every batch.
        failure: what the first pass raised, if it did; then there are no passes.
    """

    passes: tuple[Pass, ...]
    failure: Failure | None = None


_TRAININGS: WeakKeyDictionary[Subject, Training] = WeakKeyDictionary()


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require a gradient, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def training(subject: Subject) -> Training:
    """Train the model for three batches, or return what that gave when it was done before.

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
            break  # the model as it came does run: our own steps are no reason to object
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
    """Leave the gradients of a random projection of the outputs in the parameters.

    The projection is scaled by the number of outputs, so that the gradients do not grow with it. The inputs
    require no gradient, as in most trainings.

    Args:
        subject: what to run.
        seed: of the batch and of what the model draws.
        size: samples in the batch, as `Subject.batch` takes it.
        training: the mode.
        call: how to call the model; plainly if None.

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
            try:
                torch.autograd.backward(total)
            except Exception as error:
                raise broken_backward(error) from error


def broken_backward(error: Exception) -> Failure:
    """Return the failure that says what the backward pass raised."""
    failure = raised(error)
    failure.what = failure.what.replace("the model raised", "the backward pass raised", 1)
    return failure


def scaled_objective(output: Any, seed: int = 0) -> Tensor:
    """Return a random projection of all float outputs, of unit variance where the outputs have it.

    Raises:
        Skip: no output is of a float type.
    """
    total = objective(output, seed)
    if total is None:
        raise Skip("no output is of a float type: there is nothing to differentiate")
    count = sum(leaf.tensor.numel() for leaf in leaves(output) if differentiable(leaf.tensor))
    return total / math.sqrt(max(count, 1))


def differentiable(tensor: Tensor) -> bool:
    """Whether a tensor is of a type that has gradients."""
    return tensor.is_floating_point() or tensor.is_complex()


def input_gradients(
    outputs: list[Tensor], inputs: list[Tensor], cotangents: list[Tensor] | None = None, *, keep: bool = False
) -> list[Tensor | None]:
    """Return the gradients of outputs in inputs, None for an input that they do not depend on.

    Args:
        outputs: what to differentiate.
        inputs: in what.
        cotangents: the weights of the outputs; may be None for a scalar.
        keep: whether the graph is needed once more.

    Raises:
        Failure: the backward pass raised.
    """
    try:
        found = torch.autograd.grad(outputs, inputs, cotangents, retain_graph=keep, allow_unused=True)
    except Exception as error:
        raise broken_backward(error) from error
    return list(found)


def norm(tensor: Tensor) -> float:
    """Return the Euclidean norm of all values."""
    return float(tensor.detach().abs().square().sum().sqrt())


def measured(model: nn.Module) -> Pass:
    """Return the gradients that a pass has left."""
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

    The length does not depend on the size of the gradient, so one step shows in any model and upsets none.
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


def dense(gradient: Tensor | None) -> Tensor | None:
    """Return a gradient with all its zeros, as those of sparse embeddings have not."""
    return gradient.to_dense() if gradient is not None and gradient.layout is not torch.strided else gradient
