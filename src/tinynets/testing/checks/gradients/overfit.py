from __future__ import annotations

import torch

from ... import Failure, Level, Subject, check
from ...measure.training import trained
from ._shared import backward_loss, example_loss


@check("gradients.overfit", Level.MUST, opt_in=True)
def overfit(subject: Subject, *, drop: float = 0.9, steps: int = 200, learning_rate: float = 1e-3) -> str:
    """The model overfits one batch: its loss drops by nine tenths in 200 steps of Adam.

    Why: a model that cannot learn four samples cannot learn a data set, and one short run finds most bugs
    that let a model run without learning.
    Fix: look at gradients.reach and gradients.zero first; then at the loss: does it fit the output
    (probabilities or logits, which axis, which targets)?
    Declare: `supports={"gradients.overfit"}` and `loss=` turn the check on; `params=` changes `drop`, `steps`
    and `learning_rate`. The loss must be able to come near zero.
    """
    optimizer = torch.optim.Adam(trained(subject.model).values(), lr=learning_rate)
    curve: list[float] = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        loss = example_loss(subject, seed=len(curve))
        curve.append(float(loss))
        if curve[-1] <= (1 - drop) * curve[0]:
            return f"the loss goes from {curve[0]:.4g} to {curve[-1]:.4g} in {len(curve) - 1} steps"
        backward_loss(loss)
        optimizer.step()  # pyright: ignore[reportUnknownMemberType]
    shown = [f"{curve[index]:.4g}" for index in range(0, steps + 1, max(steps // 5, 1))]
    raise Failure(
        f"the loss of one batch does not drop by {drop:.0%} in {steps} steps of Adam",
        size=f"{', '.join(shown)} (every {max(steps // 5, 1)} steps; limit {(1 - drop) * curve[0]:.4g})",
    )
