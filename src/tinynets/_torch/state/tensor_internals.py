"""Data of a tensor that torch does not expose publicly: its gradient hooks, and how often it was written to
in place.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from typing import Any

from torch import Tensor

HOOK_TABLES = ("_backward_hooks", "_post_accumulate_grad_hooks")
"""The dicts of a tensor's hooks, from which their handles remove them.

The public API registers and removes hooks but does not list them. If torch moves them, a snapshot no longer
sees them, and the tests of isolation fail.
"""


def write_count(tensor: Tensor) -> int:
    """Return how often a tensor was written to in place.

    Autograd counts writes to reject a backward pass over overwritten values, and shows the count only in that
    error.
    """
    return tensor._version


def hooks_of(tensor: Tensor, table: str) -> dict[int, Any]:
    """Return a copy of one of the `HOOK_TABLES` of a tensor, empty for a non-leaf tensor."""
    return dict(getattr(tensor, table, None) or {}) if tensor.is_leaf else {}
