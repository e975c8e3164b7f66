"""The changes of a model in words (`path: old -> new`, `replaced by an equal`), and when two values count as
equal.
"""

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
"""Placeholder for a missing value."""


@dataclass(frozen=True)
class Change:
    """One change of a model.

    Args:
        path: the name of the changed object in code.
        role: its role in its module.
        old: its old value.
        new: its new value; the same object if only its contents changed.
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
    """Describe a value briefly: plain ones in full, tensors by dtype and shape."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, dict | list | set | deque | tuple) and not isinstance(value, torch.Size):
        sized = cast("list[Any]", value)
        return f"{type(sized).__name__} of {len(sized)}"
    if isinstance(value, (*PLAIN, torch.Size, _Missing)):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return f"a {type(value).__name__}"  # the repr of an object may contain its address


def changed_entries(item: Reachable, before: dict[Any, Any], after: dict[Any, Any]) -> Iterator[Change]:
    """Yield the entries of a container that have changed."""
    registered = item.role in (Role.PARAMETER, Role.BUFFER, Role.MODULE)
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key, MISSING), after.get(key, MISSING)
        # An equal replacement is a change if it is registered: an optimiser has the old object.
        if old is not new and (registered or not equal(old, new)):
            yield Change(item.name(key), item.role_of(key), old, new)


def equal(ours: Any, theirs: Any) -> bool:
    """Return whether two values are equal to any reader; objects of unknown types never are."""
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
    if has_attribute(one, "tobytes"):  # a numpy array
        return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return False


def count_changes(changes: list[Change]) -> str:
    """Return how many changes of each kind there are, in words."""
    kinds = Counter(change.role.value for change in changes)
    return " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())
