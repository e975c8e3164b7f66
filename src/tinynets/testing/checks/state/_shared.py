"""Preparation of the checks that save a model, and how they name extra state."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ... import Failure, Subject
from ...call_helpers import quoted
from ...measure.state_compare import perturb


def train_and_perturb(subject: Subject) -> None:
    """Run the model once in training mode and change its weights, as training would."""
    try:
        subject.run(subject.batch(training=True), training=True)
    except Failure:
        subject.restore()  # runs.train reports it
    perturb(subject.model)


def extra_state(state: dict[str, Any]) -> str:
    """Name the entries of a state dict that are not tensors, as the likely cause of a failure."""
    extra = {name: type(value).__name__ for name, value in state.items() if not isinstance(value, Tensor)}
    kinds = " or ".join(sorted(set(extra.values())))
    return f"{quoted([*extra])} holds {kinds} from get_extra_state: no tensor" if extra else ""
