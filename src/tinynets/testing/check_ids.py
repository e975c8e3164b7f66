"""Ids of checks and names of groups, as a caller writes them."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from .._contract.annotations.resolve_names import user_stacklevel

_RENAMED = {
    "contract": "runs",
    "contract.runs_eval": "runs.eval",
    "contract.runs_train": "runs.train",
    "contract.structure": "runs.structure",
    "contract.repr": "runs.repr",
}
"""Names of 0.1, which work for one more release."""


def current_id(id: str, known: Collection[str]) -> str:
    """Return an id or group under its present name: a name of 0.1 is replaced, with a `FutureWarning`."""
    if id in _RENAMED and id not in known:
        new = _RENAMED[id]
        warnings.warn(f"{id!r} is called {new!r} now", FutureWarning, stacklevel=user_stacklevel())
        return new
    return id


def resolve_id(id: str, known: Collection[str], argument: str, kind: str = "check") -> str:
    """Return the present name of an id.

    Args:
        id: as the caller wrote it.
        known: every name there is.
        argument: the argument that holds the id, for the message.
        kind: what the id names, for the message.

    Raises:
        ValueError: nothing has that name; the message suggests the nearest one.
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


def resolve_keys(given: Mapping[str, Any], known: Collection[str], argument: str) -> dict[str, Any]:
    """Return a mapping from ids with every id under its present name.

    Raises:
        ValueError: nothing has one of the names.
    """
    return {resolve_id(id, known, argument): value for id, value in given.items()}
