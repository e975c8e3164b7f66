"""Save, restore, compare and seed the random number generators: torch's on each device in use, Python's,
NumPy's, and those that a model holds.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from .foreign import has_attribute
from .model_walk import reachable

SOURCES = {"torch": "torch", "python": "Python's random", "numpy": "numpy.random"}
"""The names of the sources of random numbers in messages."""


class RandomStates:
    """The states of the generators of torch, Python, NumPy (if imported) and of the given models.

    For torch, the CPU and every accelerator in use are saved: reading the state of another accelerator would
    initialise it.
    """

    def __init__(self, *models: nn.Module) -> None:
        self._python = random.getstate()
        self._torch = {device: read() for device, (read, _) in _devices_in_use().items()}
        numpy = sys.modules.get("numpy")
        self._numpy: Any = None if numpy is None else numpy.random.get_state(legacy=False)
        self._own = [(one, read_state(one)) for model in models for _, one in generators_of(model)]

    def restore(self) -> None:
        """Restore every generator."""
        random.setstate(self._python)
        devices = _devices_in_use()
        for device, state in self._torch.items():
            devices[device][1](state)
        numpy = sys.modules.get("numpy")
        if numpy is not None and self._numpy is not None:
            numpy.random.set_state(self._numpy)
        for generator, state in self._own:
            write_state(generator, state)

    def moved(self) -> list[str]:
        """Return the sources whose state has changed since: `"torch"`, `"python"`, `"numpy"`."""
        now = RandomStates()
        moved = {
            # A device or library that was initialised since then has no saved state to compare with.
            "torch": any(not same_state(state, now._torch.get(d, state)) for d, state in self._torch.items()),
            "python": self._python != now._python,
            "numpy": self._numpy is not None and not same_state(self._numpy, now._numpy),
        }
        return [source for source, has_moved in moved.items() if has_moved]

    def moved_besides_torch(self) -> list[str]:
        """Return the changed sources that `torch.manual_seed` does not reach."""
        return [source for source in self.moved() if source != "torch"]


@contextmanager
def preserved_random_states(*models: nn.Module) -> Generator[None]:
    """Restore every generator at the end of the block, including those of the models."""
    states = RandomStates(*models)
    try:
        yield
    finally:
        states.restore()


def seed_everything(seed: int) -> None:
    """Seed torch, Python and, if it is imported, NumPy."""
    if len(_devices_in_use()) > 1:
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
    else:  # manual_seed would queue the seed, with a traceback, for each device that is not in use
        torch.default_generator.manual_seed(seed)
    _seed_python(seed)


def seed_all_but_torch(model: nn.Module, seed: int) -> None:
    """Seed every generator that `torch.manual_seed` does not reach, including those of the model."""
    _seed_python(seed)
    for _, generator in generators_of(model):
        seeding = seed_of(generator)
        assert seeding is not None
        seeding(seed)


def seeds_torch(call: Callable[[], object]) -> bool:
    """Return whether a call leaves torch's generator in the same state, whatever state it starts from."""
    ends: list[torch.Tensor] = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        call()
        ends.append(torch.get_rng_state())
    return torch.equal(*ends)


def _seed_python(seed: int) -> None:
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed)


_Access = tuple[Callable[[], Any], Callable[[Any], object]]  # read, write


def _devices_in_use() -> dict[str, _Access]:
    found: dict[str, _Access] = {"cpu": (torch.get_rng_state, torch.set_rng_state)}
    for name, library in (("cuda", torch.cuda), ("xpu", torch.xpu)):
        if library.is_initialized():
            found[name] = (library.get_rng_state_all, library.set_rng_state_all)
    if torch.mps.is_available():  # in use as soon as it is available
        found["mps"] = (torch.mps.get_rng_state, torch.mps.set_rng_state)
    return found


def generators_of(model: nn.Module) -> list[tuple[str, Any]]:
    """Return the generators that a model holds, with their paths."""
    return [(item.path, item.value) for item in reachable(model) if seed_of(item.value) is not None]


def read_state(generator: Any) -> Any:
    """Return the state of a generator."""
    if isinstance(generator, random.Random):
        return generator.getstate()
    bits = getattr(generator, "bit_generator", None)
    return generator.get_state() if bits is None else bits.state


def write_state(generator: Any, state: Any) -> None:
    """Set the state of a generator to one that `read_state` returned."""
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
    """Return whether two states of generators are the same: tensors, arrays and numbers, nested at will."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        mapping = cast("dict[str, Any]", ours)
        return all(same_state(value, theirs[key]) for key, value in mapping.items())
    if isinstance(ours, list | tuple):
        return all(map(same_state, cast("list[Any]", ours), theirs))
    return bool((ours == theirs).all()) if hasattr(ours, "tobytes") else ours == theirs
