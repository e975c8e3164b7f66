from __future__ import annotations

import math

import torch

from ... import Failure, Level, Subject, check
from ...measure.training import norm, trained
from ._shared import backward_loss, example_loss


@check("gradients.one_step", Level.MUST, opt_in=True)
def one_step(subject: Subject) -> str:
    """A step along the negative gradient lowers the loss of the batch that it was computed from.

    The check tries five step lengths, from 1e-1 to 1e-5 of the norm of the parameters, with the same random
    numbers in each.

    Why: if no step length does, the gradient is wrong: a wrong sign or factor in a custom `backward`, a
    straight-through estimator, or a loss that does not depend on the output.
    Fix: gradients.gradcheck says which gradient is wrong.
    Declare: `supports={"gradients.one_step"}` and `loss=` turn the check on.
    """
    before = example_loss(subject)
    backward_loss(before)
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
            now = float(example_loss(subject))
        if now < float(before):
            return f"the loss goes from {float(before):.4g} to {now:.4g}"
        losses.append(f"{now:.4g}")
    raise Failure(
        "no step along the negative gradient lowers the loss",
        size=f"{float(before):.4g}, then {', '.join(losses)} for steps of 1e-1 to 1e-5 of the parameters",
        cause="the gradient is not that of the loss: supports={'gradients.gradcheck'} says which one",
    )
