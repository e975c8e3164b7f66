"""What torch keeps with a tensor and does not show in public."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from typing import Any

from torch import Tensor

HOOK_TABLES = ("_backward_hooks", "_post_accumulate_grad_hooks")
"""The dicts of a tensor's hooks, by which their handles remove them.

Hooks can be registered and removed in public, but not listed. Should torch keep them elsewhere, a snapshot no
longer sees them, and the tests of isolation fail.
"""


def write_count(tensor: Tensor) -> int:
    """Return how often a tensor was written to in place.

    Autograd counts it to refuse a backward pass over values that are gone, and shows it in that error only.
    """
    return tensor._version


def hooks_of(tensor: Tensor, table: str) -> dict[int, Any]:
    """Return a copy of one of `HOOK_TABLES`; a result of an operation has none of its own."""
    return dict(getattr(tensor, table, None) or {}) if tensor.is_leaf else {}
