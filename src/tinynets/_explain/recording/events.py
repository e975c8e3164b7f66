"""What is recorded of a line, a call and a tensor while a model runs, before `rows.py` makes rows of it; at
most 16 tensors of a value, found in containers and attributes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import FrameType
from typing import Any, cast

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from ..._torch.tracing.layouts import layout_of
from ..._torch.tracing.pytree import keystr, tree_flatten_with_path
from .amounts import Product
from .sources import Source, Statement

MOST_LEAVES = 16  # tensors listed for one value; a cache of hundreds would hide the rest


@dataclass
class RawTensor:
    """A tensor as a line created it."""

    label: str
    shape: tuple[Any, ...]
    dtype: str
    device: str
    layout: str
    memory: str = ""


@dataclass
class RawOp:
    """One call of a module or function."""

    name: str
    module: str
    results: list[RawTensor]
    inputs: list[RawTensor] = field(default_factory=list[RawTensor])
    kernel_size: tuple[int, ...] = ()
    callee: FrameType | None = None  # the library function that the line called, if it is not part of torch


@dataclass
class LineEvent:
    """One execution of a statement, or one call of an item by its container."""

    statement: Statement | None
    code: str
    values: list[RawTensor] = field(default_factory=list[RawTensor])
    ops: list[RawOp] = field(default_factory=list[RawOp])
    calls: list[CallEvent] = field(default_factory=list["CallEvent"])
    allocated: Counter[Product] = field(default_factory=Counter[Product])
    saved: Counter[Product] = field(default_factory=Counter[Product])
    macs: Counter[Product] = field(default_factory=Counter[Product])
    parameters: set[int] = field(default_factory=set[int])
    facts: Counter[str] = field(default_factory=Counter[str])
    warnings: dict[str, None] = field(default_factory=dict[str, None])
    operands: list[tuple[str, RawTensor | str]] = field(default_factory=list[tuple[str, RawTensor | str]])
    autocast: str = ""
    mutated: bool = False
    failed: bool = False
    born: set[Any] = field(default_factory=set[Any])  # storages that were created while it ran


@dataclass
class CallEvent:
    """One call of a function of the model."""

    path: str
    owner: nn.Module
    function: str
    file: str
    line: int
    source: Source | None
    arguments: list[RawTensor] = field(default_factory=list[RawTensor])
    lines: list[LineEvent] = field(default_factory=list[LineEvent])
    code: Any = None


def is_tensor(value: object) -> bool:
    """Return whether a value is a tensor, without calling code of the value."""
    return issubclass(type(value), torch.Tensor)


def storage_of(tensor: torch.Tensor) -> StorageWeakRef | None:
    """Return the identity of a tensor's memory, or None if it has no storage."""
    try:
        return StorageWeakRef(tensor.untyped_storage())
    except (NotImplementedError, RuntimeError):  # sparse tensors and wrapper subclasses
        return None


def tensors_in(value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors in a value, each with its path, such as `[0]` or `.loss`."""
    if is_tensor(value):
        yield "", value
        return
    if value is None or isinstance(value, str | int | float | nn.Module):
        return
    try:
        leaves, _ = tree_flatten_with_path(value)
    except Exception:  # a container that only its owner can traverse
        return
    for path, leaf in leaves:
        if is_tensor(leaf):
            yield keystr(path), leaf
        elif path == () and hasattr(leaf, "__dict__"):
            for name, item in cast("dict[str, Any]", vars(leaf)).items():
                if is_tensor(item):
                    yield f".{name}", item


def raw(label: str, tensor: torch.Tensor, memory: str = "") -> RawTensor:
    """Record a tensor."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return RawTensor(label, tuple(tensor.shape), dtype, str(tensor.device), layout_of(tensor), memory)


def raw_tensors(value: Any) -> list[RawTensor]:
    """Record the tensors in a value."""
    return [raw(label, tensor) for label, tensor in islice(tensors_in(value), MOST_LEAVES)]
