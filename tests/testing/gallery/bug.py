"""One seeded bug."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Bug:
    """A broken model, the check that must flag it, and the same model mended.

    Args:
        check: the id of the check that must object.
        broken: makes the model with the bug.
        mended: makes the same model without it: the check must pass.
        inputs: the inputs, as `check_model` takes them.
        says: a part of the message: where it is, or the cause.
        options: further arguments of `check_model`.
        single: whether the model is passed as an instance, not by its factory.
    """

    check: str
    broken: Callable[[], nn.Module]
    mended: Callable[[], nn.Module]
    inputs: tuple[Any, ...]
    says: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    single: bool = False

    @property
    def label(self) -> str:
        """The id of the test: the check and the name of the broken class or function."""
        return f"{self.check}-{self.broken.__name__}"
