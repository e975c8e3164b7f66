"""The passes of the shared training, and how parameters are counted in a message."""

from __future__ import annotations

from ... import Skip, Subject
from ...call_helpers import quoted
from ...measure.training import Pass, training


def training_passes(subject: Subject) -> tuple[Pass, ...]:
    """Return the passes of the shared training.

    Raises:
        Skip: the model does not train.
    """
    found = training(subject)
    if found.failure is not None:
        raise Skip("no pass of training comes to its end: see gradients.reach")
    return found.passes


def count_parameters(number: int, total: int) -> str:
    """Return the start of a message: `3 of 10 parameters get`."""
    return f"{number} of {total} parameters {'gets' if number == 1 else 'get'}"


def list_parameters(names: list[str]) -> str:
    """Return the first five names, and how many more there are."""
    return quoted(names, most=5)
