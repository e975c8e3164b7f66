"""The passes of the shared training, the loss of the example, and how parameters are counted in a message."""

from __future__ import annotations

from torch import Tensor

from ...._torch.state.random_states import seed_everything
from ... import Failure, Skip, Subject
from ...call_helpers import quoted
from ...measure.model_errors import as_failure
from ...measure.training import Pass, run_backward, trained, training


def training_passes(subject: Subject) -> tuple[Pass, ...]:
    """Return the passes of the shared training.

    Raises:
        Skip: the model does not train.
    """
    found = training(subject)
    if found.failure is not None:
        raise Skip("no pass of training comes to its end: see gradients.reach")
    return found.passes


def parameters_get(what: str, names: list[str], total: int, *, size: str = "", cause: str = "") -> Failure:
    """Return the failure that says of some parameters what they get: `3 of 10 parameters get a gradient`."""
    get = "gets" if len(names) == 1 else "get"
    message = f"{len(names)} of {total} parameters {get} {what}"
    return Failure(message, where=quoted(names, most=5), size=size, cause=cause)


def example_loss(subject: Subject, seed: int = 0) -> Tensor:
    """Return the loss of the example, in training mode."""
    if subject.loss is None:
        raise Skip("needs a loss: loss= maps the output for the example to a scalar")
    if not trained(subject.model):
        raise Skip("no parameter requires a gradient")
    subject.model.train()
    seed_everything(subject.seed + seed)
    output = subject.call(subject.train_example.clone())
    with as_failure("loss= raised"):
        loss = subject.loss(output)
    if not isinstance(loss, Tensor) or loss.numel() != 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        got = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__  # pyright: ignore[reportUnnecessaryIsInstance]
        raise Failure("loss= must return a tensor of one value", size=f"got {got}")
    if not bool(loss.isfinite()):
        raise Failure("the loss is not finite", size=f"{float(loss)}")
    return loss


def backward_loss(loss: Tensor) -> None:
    """Run the backward pass of the loss, which sets the gradients of the parameters.

    Raises:
        Failure: the loss does not require a gradient, or the backward pass raised.
    """
    if not loss.requires_grad:
        raise Failure("the loss carries no gradient: a detach or a no_grad is on the way")
    run_backward(loss)
