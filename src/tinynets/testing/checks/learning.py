"""Whether gradients are right, and lead to something: what is only checked where it is asked for."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from ..._torch.random_states import seed_everything
from ...errors import Failure, Skip
from ..definition import Level, check
from ..measure.compare import leaves
from ..measure.training import broken_backward, differentiable, norm, trained
from ..subject import Subject, raised


@check("gradients.one_step", Level.MUST, opt_in=True)
def one_step(subject: Subject) -> str:
    """A step along the negative gradient lowers the loss of the batch that it was computed from.

    Five lengths are tried, from a tenth of the size of the parameters to a hundred-thousandth; the random
    numbers are the same in each.

    Why: if no length does, the gradient is not that of the loss: a wrong sign or factor in a `backward` of
    one's own, a straight-through estimate, a loss that does not depend on the output.
    Fix: gradients.gradcheck says which gradient is wrong.
    Declare: `supports={"gradients.one_step"}` and `loss=` ask for the check.
    """
    before = _loss(subject)
    _differentiate(before)
    parameters = [p for p in trained(subject.model).values() if p.grad is not None]
    gradients = [p.grad for p in parameters if p.grad is not None]
    steepness = math.sqrt(sum(norm(g) ** 2 for g in gradients))
    if steepness == 0 or not math.isfinite(steepness):
        raise Failure("the loss has no gradient in any parameter", size=f"norm {steepness:g}")
    size = math.sqrt(sum(norm(p) ** 2 for p in parameters)) or 1.0
    start = [p.detach().clone() for p in parameters]
    losses: list[str] = []
    for exponent in range(1, 6):
        length = 10.0**-exponent * size / steepness
        with torch.no_grad():
            for parameter, value, gradient in zip(parameters, start, gradients, strict=True):
                parameter.copy_(value).sub_(gradient, alpha=length)
            now = float(_loss(subject))
        if now < float(before):
            return f"the loss goes from {float(before):.4g} to {now:.4g}"
        losses.append(f"{now:.4g}")
    raise Failure(
        "no step along the negative gradient lowers the loss",
        size=f"{float(before):.4g}, then {', '.join(losses)} for steps of 1e-1 to 1e-5 of the parameters",
        cause="the gradient is not that of the loss: supports={'gradients.gradcheck'} says which one",
    )


@check("gradients.overfit", Level.MUST, opt_in=True)
def overfit(subject: Subject, *, drop: float = 0.9, steps: int = 200, learning_rate: float = 1e-3) -> str:
    """The model learns one batch by heart: its loss drops by nine tenths in 200 steps of Adam.

    Why: a model that cannot learn four samples learns no data set, and one short run finds most mistakes
    that let a model run and learn nothing.
    Fix: look at gradients.reach and gradients.zero first; then at the loss: does it fit the output
    (probabilities or logits, which axis, which targets)?
    Declare: `supports={"gradients.overfit"}` and `loss=` ask for the check; `params=` changes `drop`, `steps`
    and `learning_rate`. The loss must be able to come near zero.
    """
    optimizer = torch.optim.Adam(trained(subject.model).values(), lr=learning_rate)
    curve: list[float] = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        loss = _loss(subject, seed=len(curve))
        curve.append(float(loss))
        if curve[-1] <= (1 - drop) * curve[0]:
            return f"the loss goes from {curve[0]:.4g} to {curve[-1]:.4g} in {len(curve) - 1} steps"
        _differentiate(loss)
        optimizer.step()  # pyright: ignore[reportUnknownMemberType]
    shown = [f"{curve[index]:.4g}" for index in range(0, steps + 1, max(steps // 5, 1))]
    raise Failure(
        f"the loss of one batch does not drop by {drop:.0%} in {steps} steps of Adam",
        size=f"{', '.join(shown)} (every {max(steps // 5, 1)} steps; limit {(1 - drop) * curve[0]:.4g})",
    )


@check("gradients.gradcheck", Level.MUST, opt_in=True)
def gradcheck(subject: Subject) -> None:
    """In eval mode and float64, the gradients are those that small differences of the outputs give.

    Why: a `torch.autograd.Function` of one's own can return anything from its backward.
    Fix: the message names the input or parameter.
    Declare: `supports={"gradients.gradcheck"}` asks for the check. Kinks (ReLU at 0, maxima that are equal)
    and straight-through estimates disagree by their nature.
    """
    size = None if subject.example.size is None else min(subject.default_size, 2)
    model = subject.model.eval()
    with subject.float64():
        batch = subject.batch(size)
        named = trained(model)
        places = [index for index, tensor in enumerate(batch.tensors) if differentiable(tensor)]
        names = [*(f"`{batch.names[index]}`" for index in places), *(f"`{name}`" for name in named)]
        if not names:
            raise Skip("no input or parameter is of a float type")

        def function(*values: Tensor) -> tuple[Tensor, ...]:
            tensors = batch.tensors
            for index, value in zip(places, values, strict=False):
                tensors[index] = value
            parameters = dict(zip(named, values[len(places) :], strict=True))
            call = batch.with_tensors(tensors)
            seed_everything(subject.seed)
            try:
                output = torch.func.functional_call(model, parameters, call.args, call.kwargs)
            except Exception as error:
                raise raised(error) from error
            return tuple(leaf.tensor for leaf in leaves(output) if leaf.tensor.requires_grad)

        values = [batch.tensors[index] for index in places] + [p.detach() for p in named.values()]
        values = [value.clone().requires_grad_() for value in values]
        with torch.enable_grad():
            if not function(*values):
                raise Skip("no output carries a gradient: a detach, a no_grad, or integers are on the way")
            try:
                torch.autograd.gradcheck(function, values, fast_mode=True)
            except Failure:
                raise
            except Exception as error:
                raise _mismatch(error, names) from error


def _mismatch(error: Exception, names: list[str]) -> Failure:
    text = str(error)
    place = re.search(r"output (\d+) with respect to input (\d+)", text)
    if place is None:
        return broken_backward(error)
    numbers = re.findall(r"(numerical|analytical):\s*(?:tensor\()?([^\s,)]+)", text)
    return Failure(
        "a gradient is not the one that differences give",
        where=f"of output {place[1]} in {names[int(place[2])]}",
        size=", ".join(f"{kind} {value}" for kind, value in numbers),
        error=error,
    )


def _loss(subject: Subject, seed: int = 0) -> Tensor:
    """Return the loss of the example, in training mode."""
    if subject.loss is None:
        raise Skip("needs a loss: loss= maps the output for the example to a scalar")
    if not trained(subject.model):
        raise Skip("no parameter requires a gradient")
    subject.model.train()
    seed_everything(subject.seed + seed)
    output = subject.call(subject.train_example.clone())
    try:
        loss = subject.loss(output)
    except Exception as error:
        failure = raised(error)
        failure.what = failure.what.replace("the model raised", "loss= raised", 1)
        raise failure from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        got = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
        raise Failure("loss= must return a tensor of one value", size=f"got {got}")
    if not bool(loss.isfinite()):
        raise Failure("the loss is not finite", size=f"{float(loss)}")
    return loss


def _differentiate(loss: Tensor) -> None:
    if not loss.requires_grad:
        raise Failure("the loss carries no gradient: a detach or a no_grad is on the way")
    try:
        torch.autograd.backward(loss)
    except Exception as error:
        raise broken_backward(error) from error
