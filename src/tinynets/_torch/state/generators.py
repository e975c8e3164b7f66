"""One interface to read, write and seed random number generators of torch, Python and NumPy."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from .foreign import has_attribute
from .model_walk import reachable


def generators_of(model: nn.Module) -> list[tuple[str, Any]]:
    """Return the generators that a model refers to, with their paths."""
    return [(item.path, item.value) for item in reachable(model) if seed_of(item.value) is not None]


def read_state(generator: Any) -> Any:
    """Return the state of a generator."""
    if isinstance(generator, random.Random):
        return generator.getstate()
    bits = getattr(generator, "bit_generator", None)
    return generator.get_state() if bits is None else bits.state


def write_state(generator: Any, state: Any) -> None:
    """Set a generator to a state that `read_state` returned."""
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif (bits := getattr(generator, "bit_generator", None)) is not None:
        bits.state = state
    else:
        generator.set_state(state)


def seed_of(value: Any) -> Callable[[int], object] | None:
    """Return the function that seeds a generator; None for anything else."""
    if isinstance(value, torch.Generator):
        return value.manual_seed
    if isinstance(value, random.Random):
        return value.seed
    bits = value.bit_generator if has_attribute(value, "bit_generator") else None
    if bits is not None:
        return lambda seed: setattr(bits, "state", type(bits)(seed).state)
    return value.seed if has_attribute(value, "set_state") and has_attribute(value, "seed") else None


def same_state(ours: Any, theirs: Any) -> bool:
    """Return whether two generator states are equal: tensors, arrays and numbers, nested to any depth."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        mapping = cast("dict[str, Any]", ours)
        return all(same_state(value, theirs[key]) for key, value in mapping.items())
    if isinstance(ours, list | tuple):
        return all(map(same_state, cast("list[Any]", ours), theirs))
    return bool((ours == theirs).all()) if hasattr(ours, "tobytes") else ours == theirs
