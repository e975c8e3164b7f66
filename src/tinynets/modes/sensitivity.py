"""Which modules behave differently in training, and how."""

from __future__ import annotations

import dis
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from types import CodeType, FunctionType
from typing import Any, cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.dropout import _DropoutNd  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.instancenorm import _InstanceNorm  # pyright: ignore[reportPrivateUsage]

# Attributes that switch a train-mode behaviour off when they are 0: p, dropout, drop_prob, survival_rate ...
_PROBABILITY = re.compile(r"^p$|drop|prob|rate$")


def train_behaviour(module: nn.Module) -> str | None:
    """What the module itself, without its children, does differently in train mode; None if nothing."""
    if _runs_layer_of_torch(type(module)):
        for cls, describe in _KNOWN:
            if isinstance(module, cls) and (behaviour := describe(module)):
                return behaviour
    for reads in _reads_of_training(type(module)):
        probabilities = {name: getattr(module, name, None) for name in reads if _PROBABILITY.search(name)}
        off = [name for name, value in probabilities.items() if _is_number(value) and value == 0]
        # `F.dropout(x, self.p, self.training)` with p = 0 does nothing; a read beyond these may do something.
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
    (_DropoutNd, _dropout),
    (_BatchNorm, _batch_norm),
    (_InstanceNorm, _instance_norm),
    (nn.RReLU, _rrelu),
    (nn.MultiheadAttention, _attention),
    (nn.RNNBase, _recurrent),
)


@lru_cache(maxsize=4096)
def _runs_layer_of_torch(cls: type[nn.Module]) -> bool:
    """Whether `forward` is, or calls, that of one of torch's own layers: a frozen BatchNorm may not."""
    function = _function(cls, "forward")
    return function is not None and (_of_torch(function) or "forward" in _attribute_reads(function))


@lru_cache(maxsize=4096)
def _reads_of_training(cls: type[nn.Module]) -> tuple[Counter[str], ...]:
    """Attribute reads of `forward`, and of each method it uses, that reads an attribute named `training`.

    Methods of torch's own layers are left out: what these do in training is in `_KNOWN`, and most read the
    flag only to choose between two equal kernels.
    """
    found: list[Counter[str]] = []
    seen: set[str] = set()
    names = ["forward"]
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        function = _function(cls, name)
        if function is None or _of_torch(function):
            continue
        reads = Counter(_attribute_reads(function))
        names.extend(reads)
        if reads["training"]:
            found.append(reads)
    return tuple(found)


def _of_torch(function: FunctionType) -> bool:
    return str(function.__module__).startswith("torch.nn.modules.")  # None in code from exec


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


def _attribute_reads(function: FunctionType) -> Iterator[str]:
    """The attributes of `self` that a method reads, and `forward` of `super()`, once per time in the code."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return _reads_in(function.__code__, names[0] if names else "self")


def _reads_in(code: CodeType, this: str) -> Iterator[str]:
    before: Any = None
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            loaded = cast("tuple[Any, ...]", before if isinstance(before, tuple) else (before,))
            # The last one: Python 3.13 loads two variables at once.
            if loaded[-1:] == (this,) or instruction.argval in ("training", "forward"):
                yield instruction.argval
        before = instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a lambda, comprehension or inner function
            yield from _reads_in(constant, this)
