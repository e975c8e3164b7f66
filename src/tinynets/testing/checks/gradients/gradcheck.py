from __future__ import annotations

import re

import torch
from torch import Tensor

from ...._torch.state.random_states import seed_everything
from ... import Failure, Level, Skip, Subject, check
from ...measure.compare import leaves
from ...measure.model_errors import as_failure, raised
from ...measure.training import BACKWARD, differentiable, trained


@check("gradients.gradcheck", Level.MUST, opt_in=True)
def gradcheck(subject: Subject) -> None:
    """In eval mode and float64, the gradients match finite differences of the outputs.

    Why: a custom `torch.autograd.Function` can return anything from its `backward`.
    Fix: the message names the input or parameter.
    Declare: `supports={"gradients.gradcheck"}` turns the check on. Kinks (ReLU at 0, equal maxima) and
    straight-through estimators never match.
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
            with as_failure():
                output = torch.func.functional_call(model, parameters, call.args, call.kwargs)
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
        return raised(error, BACKWARD)
    numbers = re.findall(r"(numerical|analytical):\s*(?:tensor\()?([^\s,)]+)", text)
    return Failure(
        "a gradient is not the one that differences give",
        where=f"of output {place[1]} in {names[int(place[2])]}",
        size=", ".join(f"{kind} {value}" for kind, value in numbers),
        error=error,
    )
