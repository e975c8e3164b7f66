from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ...._torch.state.random_states import seed_everything
from ... import Failure, Level, Subject, check
from ...locate.divergence import first_difference
from ...measure.compare import Difference, Leaf, detached, worst


@check("purity.grad_modes", Level.MUST)
def grad_modes(subject: Subject) -> str | None:
    """The outputs are the same with gradients, under `no_grad` and under `inference_mode`.

    Why: evaluation must run the same function as training.
    Fix: do not branch on `torch.is_grad_enabled()` or `requires_grad`; the message names the module.
    Declare: an exemption with the reason.
    """
    model = subject.model
    modes = {"enable_grad": torch.enable_grad, "inference_mode": torch.inference_mode}

    def call(mode: Callable[[], Any]) -> list[Leaf]:
        model.eval()
        seed_everything(subject.seed)
        with mode():
            output = subject.call(subject.batch())
        return detached(output)  # outside the block, to get an ordinary tensor

    def differences() -> dict[str, Difference]:
        plain = call(torch.no_grad)
        found = {name: worst(call(mode), plain) for name, mode in modes.items()}
        return {name: difference for name, difference in found.items() if difference is not None}

    def measure() -> Difference | None:
        return max(differences().values(), key=lambda found: found.error, default=None)

    def objection(found: Difference) -> Failure:
        measured = differences()
        name = max(measured, key=lambda name: measured[name].error)
        module = first_difference(model, partial(call, torch.no_grad), partial(call, modes[name]))
        return Failure(
            f"the output under {name} differs from that under no_grad",
            where=found.since(module),
        )

    return subject.assert_close(measure, objection)
