"""Exemptions: checks that are expected to fail, each with a reason and, optionally, the expected error."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import Failure


@dataclass(frozen=True)
class Exemption:
    """A check that is expected to fail, and why.

    Args:
        reason: why, for later readers of the report.
        raises: the exception that the model is expected to raise, if any.
        match: a regular expression that must match somewhere in the failure message.

    Raises:
        ValueError: the reason is empty.
    """

    reason: str
    raises: type[BaseException] | None = None
    match: str | None = None

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("an exemption needs a reason: say why the check is expected to fail")

    def mismatch(self, failure: Failure) -> str | None:
        """Return how a failure differs from the expected one, or None if it does not."""
        if self.raises is not None and not isinstance(failure.error, self.raises):
            got = "no exception" if failure.error is None else type(failure.error).__name__
            return f"expected {self.raises.__name__}, got {got}"
        if self.match is not None and not re.search(self.match, str(failure)):
            return f"expected a message that matches {self.match!r}"
        return None
