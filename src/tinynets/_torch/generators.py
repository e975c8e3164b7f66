"""Random number generators besides that of torch: those of Python and numpy, and those that a model holds."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..testing.snapshot.holdings import holdings
from .globals import RandomStates

GENERATORS = {"torch": "torch", "python": "Python's random", "numpy": "numpy.random"}
"""The generators in the words of a message."""


def seeds(call: Callable[[], object]) -> bool:
    """Whether a call leaves the generator of torch in the same state from wherever it starts."""
    ends: list[torch.Tensor] = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        call()
        ends.append(torch.get_rng_state())
    return torch.equal(*ends)


def foreign(states: RandomStates) -> list[str]:
    """Return which generators other than that of torch have moved."""
    return [name for name in states.moved() if name != "torch"]


def seed_others(model: nn.Module, seed: int) -> None:
    """Seed every generator that `torch.manual_seed` does not reach, those that the model holds too."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    for holding in holdings(model):
        if (seeding := seed_of(holding.value)) is not None:
            seeding(seed)


def seed_of(value: Any) -> Callable[[int], object] | None:
    """Return what seeds a generator; None for anything else."""
    if isinstance(value, torch.Generator):
        return value.manual_seed
    if isinstance(value, random.Random):
        return value.seed
    bits = getattr(value, "bit_generator", None)
    if bits is not None:
        return lambda seed: setattr(bits, "state", type(bits)(seed).state)
    return getattr(value, "seed", None) if hasattr(value, "set_state") else None
