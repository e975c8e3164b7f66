"""Find modules that behave differently in training, and describe how."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from types import FunctionType
from typing import Any, TypeVar, cast

from torch import nn

from .._torch.modules.layers import BatchNorm, Dropout, InstanceNorm
from .attribute_reads import attribute_reads, names_in

# Attributes that disable a train-mode behaviour when they are 0: p, dropout, drop_prob, survival_rate ...
_PROBABILITY = re.compile(r"^p$|drop|prob|rate$")


def train_behaviour(module: nn.Module) -> str | None:
    """Describe what the module itself, without children, does differently in train mode; None if nothing."""
    if _runs_layer_of_torch(type(module)):
        for cls, describe in _KNOWN:
            if isinstance(module, cls) and (behaviour := describe(module)):
                return behaviour
    for reads in _reads_of_training(type(module)):
        probabilities = {name: getattr(module, name, None) for name in reads if _PROBABILITY.search(name)}
        off = [name for name, value in probabilities.items() if _is_number(value) and value == 0]
        # `F.dropout(x, self.p, self.training)` with p = 0 has no effect; further reads may have one.
        if reads["training"] > sum(reads[name] for name in off):
            on = [f"{name}={value:g}" for name, value in probabilities.items() if _is_number(value) and value]
            return ", ".join(["reads self.training", *on])
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _dropout(module: Any) -> str | None:
    return f"zeroes values, p={module.p:g}" if module.p > 0 else None


def _batch_norm(module: Any) -> str | None:
    if module.running_mean is None:
        return None  # batch statistics in both modes
    return "batch statistics, updates its running ones"


def _instance_norm(module: Any) -> str | None:
    if not module.track_running_stats:
        return None
    return "instance statistics, updates its running ones"


def _rrelu(module: Any) -> str | None:
    return f"random slopes in [{module.lower:g}, {module.upper:g}]" if module.lower != module.upper else None


def _attention(module: Any) -> str | None:
    return f"attention dropout p={module.dropout:g}" if module.dropout > 0 else None


def _recurrent(module: Any) -> str | None:
    return (
        f"dropout p={module.dropout:g} between layers" if module.dropout > 0 < module.num_layers - 1 else None
    )


_KNOWN: tuple[tuple[type[nn.Module], Callable[[Any], str | None]], ...] = (
    (Dropout, _dropout),
    (BatchNorm, _batch_norm),
    (InstanceNorm, _instance_norm),
    (nn.RReLU, _rrelu),
    (nn.MultiheadAttention, _attention),
    (nn.RNNBase, _recurrent),
)


@lru_cache(maxsize=4096)
def _runs_layer_of_torch(cls: type[nn.Module]) -> bool:
    """Return whether `forward` is or calls that of a torch layer: a frozen BatchNorm may not call it."""
    function = _function(cls, "forward")
    if function is None or _of_torch(function):
        return function is not None
    return "forward" in names_in(function.__code__) and "forward" in attribute_reads(function)


@lru_cache(maxsize=4096)
def _reads_of_training(cls: type[nn.Module]) -> tuple[Counter[str], ...]:
    """Return the attribute reads of `forward` and of each method it uses, if these include `training`."""
    if not any("training" in names for names in _used_methods(cls, lambda method: names_in(method.__code__))):
        return ()  # the case for most classes; reading the source is slower
    return tuple(reads for reads in _used_methods(cls, attribute_reads) if reads["training"])


_Names = TypeVar("_Names", bound=Iterable[str])


def _used_methods(cls: type, names_of: Callable[[FunctionType], _Names]) -> Iterator[_Names]:
    """Yield the names in `forward`, and in each method and property that these names refer to.

    Methods of torch's layers are left out: `_KNOWN` covers their behaviour in training, and most read the
    flag only to choose between two equivalent kernels.
    """
    seen: set[str] = set()
    queue = ["forward"]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        function = _function(cls, name)
        if function is not None and not _of_torch(function):
            names = names_of(function)
            queue.extend(names)
            yield names


def _of_torch(function: FunctionType) -> bool:
    return str(function.__module__).startswith("torch.nn.modules.")  # `__module__` is None in code from exec


def _function(cls: type, name: str) -> FunctionType | None:
    found = inspect.getattr_static(cls, name, None)
    if isinstance(found, (staticmethod, classmethod)):
        found = cast("Any", found).__func__
    elif isinstance(found, property):
        found = found.fget
    elif isinstance(found, cached_property):
        found = cast("Any", found).func
    if callable(found):
        found = inspect.unwrap(found)
    return found if isinstance(found, FunctionType) else None
