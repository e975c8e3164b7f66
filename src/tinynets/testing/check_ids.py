"""Ids of checks, groups and globs as a caller writes them (`batch.*`, an id without its variant): the list of
groups, names of 0.1, and the suggestion for an unknown one.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from .._contract.annotations.resolve_names import user_stacklevel

Group = Literal[
    "batch",
    "device",
    "dtype",
    "gradients",
    "layout",
    "modes",
    "purity",
    "runs",
    "shapes",
    "state",
    "transforms",
]
"""The groups of the built-in checks, so that type checkers find misspelled ones."""

_RENAMED = {
    "contract": "runs",
    "contract.runs_eval": "runs.eval",
    "contract.runs_train": "runs.train",
    "contract.structure": "runs.structure",
    "contract.repr": "runs.repr",
}
"""Names of version 0.1, which still work for one release."""


def current_id(id: str, known: Collection[str]) -> str:
    """Return the current name of an id or group; a name of 0.1 is replaced, with a `FutureWarning`."""
    if id in _RENAMED and id not in known:
        new = _RENAMED[id]
        warnings.warn(f"{id!r} is called {new!r} now", FutureWarning, stacklevel=user_stacklevel())
        return new
    return id


def resolve_id(id: str, known: Collection[str], argument: str, kind: str = "check") -> str:
    """Return the current name of an id.

    Args:
        id: as the caller wrote it.
        known: all existing names.
        argument: the argument that holds the id, for the message.
        kind: what the id names, for the message.

    Raises:
        ValueError: there is no such name; the message suggests the nearest one.
    """
    id = current_id(id, known)
    if id not in known:
        near = difflib.get_close_matches(id, known, n=1, cutoff=0.5)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"known are {', '.join(known)}"
            if len(known) < 20
            else "tinynets.testing.list_checks() has them all"
        )
        raise ValueError(f"{argument}: there is no {kind} {id!r}; {hint}")
    return id


def resolve_pattern(pattern: str, known: Collection[str], argument: str) -> list[str]:
    """Return the ids that a pattern names: an id, an id without its variant, or a glob such as `batch.*`.

    Raises:
        ValueError: it matches none.
    """
    pattern = current_id(pattern, known)
    if pattern in known:
        return [pattern]
    found = [id for id in known if id.partition("[")[0] == pattern or fnmatchcase(id, pattern)]
    return found or [resolve_id(pattern, known, argument)]


def resolve_selection(given: str | Iterable[str], known: Collection[str], argument: str) -> set[str]:
    """Return the ids that one or several groups, ids or globs select.

    Raises:
        ValueError: one of them matches none.
    """
    groups = sorted({id.partition(".")[0] for id in known})
    found: set[str] = set()
    for pattern in [given] if isinstance(given, str) else given:
        pattern = current_id(pattern, [*groups, *known])
        if pattern in groups:
            found.update(id for id in known if id.partition(".")[0] == pattern)
        elif "." in pattern or "*" in pattern:
            found.update(resolve_pattern(pattern, known, argument))
        else:
            resolve_id(pattern, groups, argument, "group")
    return found


def resolve_keys(given: Mapping[str, Any], known: Collection[str], argument: str) -> dict[str, Any]:
    """Replace the ids and patterns in the keys of a mapping by current ids.

    Raises:
        ValueError: a key matches no id.
    """
    return {id: value for key, value in given.items() for id in resolve_pattern(key, known, argument)}
