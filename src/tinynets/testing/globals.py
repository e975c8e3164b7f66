"""The state of the process that a model could change: global flags of torch and random number generators."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import torch

# name -> (read, write)
_FLAGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch.is_grad_enabled()": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.get_default_dtype()": (torch.get_default_dtype, torch.set_default_dtype),
    "torch.get_num_threads()": (torch.get_num_threads, torch.set_num_threads),
    "torch.are_deterministic_algorithms_enabled()": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "torch.get_float32_matmul_precision()": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "torch.is_anomaly_enabled()": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch.is_autocast_enabled('cpu')": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
    ),
    "torch.get_autocast_dtype('cpu')": (
        lambda: torch.get_autocast_dtype("cpu"),
        lambda dtype: torch.set_autocast_dtype("cpu", dtype),
    ),
    "torch.is_autocast_cache_enabled()": (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "torch.backends.cudnn.enabled": (
        lambda: torch.backends.cudnn.enabled,
        lambda on: setattr(torch.backends.cudnn, "enabled", on),
    ),
    "torch.backends.cudnn.benchmark": (
        lambda: torch.backends.cudnn.benchmark,
        lambda on: setattr(torch.backends.cudnn, "benchmark", on),
    ),
    "torch.backends.cudnn.deterministic": (
        lambda: torch.backends.cudnn.deterministic,
        lambda on: setattr(torch.backends.cudnn, "deterministic", on),
    ),
    "torch.utils.deterministic.fill_uninitialized_memory": (
        lambda: getattr(torch.utils.deterministic, "fill_uninitialized_memory"),  # noqa: B009
        lambda on: setattr(torch.utils.deterministic, "fill_uninitialized_memory", on),
    ),
}


def read_flags() -> dict[str, Any]:
    """Return the value of every global flag, by how a user would ask for it."""
    return {name: read() for name, (read, _) in _FLAGS.items()}


def write_flags(flags: dict[str, Any]) -> None:
    """Put flags back that have changed; the others are not touched, since setting some of them costs."""
    for name, value in flags.items():
        read, write = _FLAGS[name]
        if read() != value:
            write(value)


def changed_flags(before: dict[str, Any]) -> list[str]:
    """Return one line for every flag that is not what it was."""
    now = read_flags()
    return [f"{name}: {before[name]} -> {now[name]}" for name in before if now[name] != before[name]]


class RandomStates:
    """The states of the random number generators of torch, Python and, where it is loaded, numpy."""

    def __init__(self) -> None:
        self.python = random.getstate()
        self.torch = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        numpy = sys.modules.get("numpy")
        self.numpy: Any = None if numpy is None else numpy.random.get_state(legacy=False)

    def restore(self) -> None:
        """Put every generator back."""
        random.setstate(self.python)
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
        numpy = sys.modules.get("numpy")
        if numpy is not None and self.numpy is not None:
            numpy.random.set_state(self.numpy)

    def moved(self) -> list[str]:
        """Return which generators have been drawn from since: `"torch"`, `"python"`, `"numpy"`."""
        now = RandomStates()
        found: list[str] = []
        cuda_moved = any(not torch.equal(a, b) for a, b in zip(self.cuda, now.cuda, strict=False))
        if not torch.equal(self.torch, now.torch) or cuda_moved:
            found.append("torch")
        if self.python != now.python:
            found.append("python")
        if self.numpy is not None and now.numpy is not None and repr(self.numpy) != repr(now.numpy):
            found.append("numpy")
        return found


def seed_everything(seed: int) -> None:
    """Seed torch, Python and, where it is loaded, numpy."""
    random.seed(seed)
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed)
