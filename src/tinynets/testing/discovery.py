"""`list_checks`: the built-in checks, and those of installed packages."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from .definition import Check, registered


def list_checks() -> tuple[Check, ...]:
    """Return every check: the built-in ones, then those of installed packages.

    Raises:
        TypeError: an entry point of the group `tinynets.checks` holds something that is not a check.

    Examples:
        >>> [check.id for check in tn.testing.list_checks() if check.id.startswith("layout.")]
        ['layout.channels_last', 'layout.noncontiguous']
    """
    from . import checks as checks  # importing it registers them

    return (*registered(), *_offered())


@cache
def _offered() -> tuple[Check, ...]:
    found: list[Check] = []
    for entry in sorted(entry_points(group="tinynets.checks"), key=lambda entry: entry.name):
        loaded = entry.load()
        for item in loaded if isinstance(loaded, list | tuple) else (loaded,):  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(item, Check):
                raise TypeError(f"entry point {entry.name!r} ({entry.value}): {item!r} is not a Check")
            found.append(item)
    return tuple(found)
