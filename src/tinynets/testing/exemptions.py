"""Exemptions: checks that are known to fail, each with its reason, held to what they say."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import Failure


@dataclass(frozen=True)
class Exemption:
    """A check that is expected to fail, and why.

    Args:
        reason: why, for whoever reads the report next year.
        raises: the exception that the model is expected to raise, if it is to raise one.
        match: a regular expression that the objection must contain.

    Raises:
        ValueError: an empty reason.
    """

    reason: str
    raises: type[BaseException] | None = None
    match: str | None = None

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("an exemption needs a reason: say why the check is expected to fail")

    def mismatch(self, failure: Failure) -> str | None:
        """Return how a failure differs from the expected one, None if it fits."""
        if self.raises is not None and not isinstance(failure.error, self.raises):
            got = "no exception" if failure.error is None else type(failure.error).__name__
            return f"expected {self.raises.__name__}, got {got}"
        if self.match is not None and not re.search(self.match, str(failure)):
            return f"expected a message that matches {self.match!r}"
        return None


def exemptions(given: Mapping[str, str | Exemption]) -> dict[str, Exemption]:
    """Return every exemption as one: a plain string is its reason."""
    return {id: e if isinstance(e, Exemption) else Exemption(e) for id, e in given.items()}


def known_ids(given: Iterable[str], known: Iterable[str], argument: str, kind: str = "check") -> None:
    """Refuse names that nothing has.

    Raises:
        ValueError: an unknown name, with the nearest known one.
    """
    ids = list(known)
    for id in given:
        if id not in ids:
            near = difflib.get_close_matches(id, ids, n=1, cutoff=0.5)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"known are {', '.join(ids)}"
                if len(ids) < 20
                else "tinynets.testing.list_checks() has them all"
            )
            raise ValueError(f"{argument}: there is no {kind} {id!r}; {hint}")
