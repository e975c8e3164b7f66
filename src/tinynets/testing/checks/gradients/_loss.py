"""The loss of the example, for the checks that train with `loss=`."""

from __future__ import annotations

from torch import Tensor

from ...._torch.state.random_states import seed_everything
from ....errors import Failure, Skip
from ...measure.model_errors import raised
from ...measure.training import run_backward, trained
from ...subject import Subject


def example_loss(subject: Subject, seed: int = 0) -> Tensor:
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
        raise raised(error, "loss= raised") from error
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
