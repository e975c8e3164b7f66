"""Lists of names in the words of a message."""

from __future__ import annotations


def quoted(names: list[str], most: int = 3) -> str:
    """Return the first few names in backticks, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more
