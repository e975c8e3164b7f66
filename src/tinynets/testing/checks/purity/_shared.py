"""Counting changes, for the checks that compare snapshots."""

from __future__ import annotations

from collections import Counter

from ...snapshot.changes import Change


def count_changes(changes: list[Change]) -> str:
    """Return how many changes of each kind there are, in words."""
    kinds = Counter(change.role.value for change in changes)
    return " and ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in kinds.items())
