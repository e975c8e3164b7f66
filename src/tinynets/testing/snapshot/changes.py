"""What has changed in a model, in words."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ..._torch.state.foreign import PLAIN, has_attribute
from ..._torch.state.walk_item import Reachable, Role
from ..measure.compare import same_bits


class _Missing:
    def __repr__(self) -> str:
        return "(nothing)"


MISSING: Any = _Missing()
"""Stands for what is not there."""


@dataclass(frozen=True)
class Change:
    """One thing that is not what it was.

    Args:
        path: as the code would name it.
        role: what it is to its module.
        old: what it was.
        new: what it is; the same object where the values in it have changed.
    """

    path: str
    role: Role
    old: Any
    new: Any

    def __str__(self) -> str:
        old, new = describe(self.old), describe(self.new)
        if old != new:
            return f"{self.path}: {old} -> {new}"
        same = self.old is not self.new and equal(self.old, self.new)
        return f"{self.path}: {'replaced by an equal' if same else 'other values in'} {new}"


def describe(value: Any) -> str:
    """Say briefly what a value is: plain ones in full, tensors by dtype and shape."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, dict | list | set | deque | tuple) and not isinstance(value, torch.Size):
        sized = cast("list[Any]", value)
        return f"{type(sized).__name__} of {len(sized)}"
    if isinstance(value, (*PLAIN, torch.Size, _Missing)):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return f"a {type(value).__name__}"  # the repr of an object may hold its address


def changed_entries(item: Reachable, before: dict[Any, Any], after: dict[Any, Any]) -> Iterator[Change]:
    """Yield how what is in something differs from what was in it."""
    registered = item.role in (Role.PARAMETER, Role.BUFFER, Role.MODULE)
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key, MISSING), after.get(key, MISSING)
        # Something else that is equal is a change where it is registered: an optimiser has the old one.
        if old is not new and (registered or not equal(old, new)):
            yield Change(item.name(key), item.role_of(key), old, new)


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two values are the same to whoever reads them; two objects of other kinds never are."""
    if ours is theirs:
        return True
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.layout is theirs.layout and ours.device == theirs.device and same_bits(ours, theirs)
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, PLAIN):
        return ours == theirs or (ours != ours and theirs != theirs)
    if isinstance(ours, dict):
        left, right = cast("dict[Any, Any]", ours), cast("dict[Any, Any]", theirs)
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    if isinstance(ours, list | tuple | deque):
        one, other = cast("list[Any]", ours), cast("list[Any]", theirs)
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    one: Any = ours
    other: Any = theirs
    if has_attribute(one, "tobytes"):  # of numpy
        return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return False


def count_changes(changes: list[Change]) -> str:
    """Return how many changes of each kind there are, in words."""
    kinds = Counter(change.role.value for change in changes)
    return " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())
