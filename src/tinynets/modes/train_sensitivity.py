"""Which modules behave differently in training, and the words for it (`zeroes values, p=0.5`): layers of
torch in `_KNOWN`, others by reads of `self.training` in their source or else their bytecode.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, TypeVar

from torch import nn

from .._contract.codegen.source import code_objects
from .._contract.codegen.syntax import FunctionNode, parse_definition
from .._contract.descriptors import functions_of
from .._torch.modules.layers import BatchNorm, Dropout, InstanceNorm

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


_KNOWN: tuple[tuple[type[nn.Module], Callable[[Any], str | None]], ...] = (
    (Dropout, lambda m: f"zeroes values, p={m.p:g}" if m.p > 0 else None),
    # Without running ones, it takes the statistics of the batch in both modes.
    (BatchNorm, lambda m: None if m.running_mean is None else "batch statistics, updates its running ones"),
    (
        InstanceNorm,
        lambda m: "instance statistics, updates its running ones" if m.track_running_stats else None,
    ),
    (nn.RReLU, lambda m: f"random slopes in [{m.lower:g}, {m.upper:g}]" if m.lower != m.upper else None),
    (nn.MultiheadAttention, lambda m: f"attention dropout p={m.dropout:g}" if m.dropout > 0 else None),
    (
        nn.RNNBase,
        lambda m: f"dropout p={m.dropout:g} between layers" if m.dropout > 0 < m.num_layers - 1 else None,
    ),
)
"""Layers of torch, and what each does in train mode; None if nothing."""


@lru_cache(maxsize=4096)
def _runs_layer_of_torch(cls: type[nn.Module]) -> bool:
    """Return whether `forward` is, or calls, the one of a torch layer: a frozen BatchNorm may not call it."""
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
    member = inspect.getattr_static(cls, name, None)
    found = next(iter(functions_of(member)), member)
    found = inspect.unwrap(found) if callable(found) else found
    return found if isinstance(found, FunctionType) else None


def names_in(code: CodeType) -> set[str]:
    """Return every name that a function looks up, of attributes and globals, in inner functions too."""
    return {name for inner in code_objects(code) for name in inner.co_names}


def attribute_reads(function: FunctionType) -> Counter[str]:
    """Return how often a method reads each attribute of `self`, and `training` and `forward` of anything.

    If there is no source, as for code from `exec`, or if it was edited after it was compiled, every name in
    the bytecode counts as read once: some may be globals, or attributes of other objects.
    """
    names, tree = names_in(function.__code__), _definition(function)
    if tree is None:
        return Counter(names)
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    this = arguments[0] if arguments else "self"
    reads = Counter(
        node.attr
        for statement in tree.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        if node.attr in ("training", "forward")
        or (isinstance(node.value, ast.Name) and node.value.id == this)
    )
    # The bytecode has other names if the file was edited, and for `self.__x`, which Python mangles.
    return reads if names.issuperset(reads) else Counter(names)


def _definition(function: FunctionType) -> FunctionNode | None:
    try:
        found = parse_definition(inspect.getsourcelines(function.__code__)[0])
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    return found if isinstance(found, FunctionNode) and found.name == function.__code__.co_name else None
