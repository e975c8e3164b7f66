"""The results of all checks as data: the statuses, when one fails the report (`ok`), the counts, and a
result's message with its lines `note`, `and 9 checks that follow` and `declare`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from ...errors import Failure
from ..check_ids import current_id
from ..definition import Level
from .root_causes import depth

UNNEEDED = "no failure needs an exemption any more, remove it:"


class Status(StrEnum):
    """The outcome of a check."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    """It failed, as an exemption expects."""
    XPASSED = "xpassed"
    """It passed although an exemption expects it to fail: remove the exemption."""
    ERROR = "error"
    """The check itself broke or ran out of time, which says nothing about the model."""


@dataclass(frozen=True)
class Result:
    """The result of one check.

    Args:
        id: id of the check.
        level: level of the check.
        status: its outcome.
        note: the note of a check that passed, why one was skipped, or the reason of an exemption.
        failure: why it failed, if it did.
        seconds: how long it took.
        follows: the id of the check whose failure explains this one, `""` if none does.
    """

    id: str
    level: Level
    status: Status
    note: str = ""
    failure: Failure | None = None
    seconds: float = 0.0
    follows: str = ""

    @property
    def bad(self) -> bool:
        """Whether it fails the report: it failed, or it broke although it must pass."""
        unjudged = self.status is Status.ERROR and self.level is Level.MUST
        return unjudged or self.status in (Status.FAILED, Status.XPASSED)

    @property
    def message(self) -> str:
        """The failure or the note, in full."""
        if self.failure is None or self.follows:
            return self.note
        lines = [str(self.failure)]
        if self.note:
            lines.append(f"  note     {self.note}")
        if self.level in (Level.MUST, Level.SHOULD) and self.status in (Status.FAILED, Status.WARNED):
            lines.append(f'  declare  expected_failures={{"{self.id}": "why"}}')
        return "\n".join(lines)


@dataclass(frozen=True)
class Results:
    """The results of all checks of one model, in the order they ran; `Report` documents the fields."""

    name: str
    results: tuple[Result, ...]
    environment: dict[str, str] = field(default_factory=dict[str, str])
    unneeded: tuple[str, ...] = ()

    def __getitem__(self, id: str) -> Result:
        by_id = {result.id: result for result in self.results}
        try:
            return by_id[current_id(id, by_id)]
        except KeyError:
            raise KeyError(f"the report has no check {id!r}") from None

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    @property
    def bad(self) -> list[Result]:
        """The results that fail the report, root causes first."""
        return [result for result in self.ranked(*Status) if result.bad]

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and no check that must pass broke."""
        return not any(result.bad for result in self.results)

    @property
    def counts(self) -> dict[str, int]:
        """The number of checks in each status that occurs."""
        found = Counter(result.status.value for result in self.results)
        return {status.value: found[status.value] for status in Status if found[status.value]}

    @property
    def seconds(self) -> float:
        """The total time of all checks."""
        return sum(result.seconds for result in self.results)

    @property
    def notices(self) -> list[str]:
        """A line about exemptions that no check needs, if there are any."""
        names = ", ".join(map(repr, self.unneeded))
        return [f"{UNNEEDED} {names}"] if names else []

    def followers(self, id: str) -> list[str]:
        """Return the ids of the checks whose failures follow from the failure of one check."""
        return [result.id for result in self.results if result.follows == id]

    def message(self, result: Result) -> str:
        """Return the message of a result, with the checks that follow from it."""
        following = self.followers(result.id)
        if not following:
            return result.message
        count = f"{len(following)} check{'s' * (len(following) > 1)}"
        line = f"  and      {count} that follow{'s' * (len(following) == 1)} from it: {', '.join(following)}"
        body, declare, rest = result.message.partition("\n  declare")
        return f"{body}\n{line}{declare}{rest}"

    def ranked(self, *statuses: Status | str) -> list[Result]:
        """Return the results in some statuses, root causes first."""
        return sorted(self.with_status(*statuses), key=lambda result: depth(result.id))

    def with_status(self, *statuses: Status | str) -> list[Result]:
        """Return the results in some statuses."""
        return [result for result in self.results if result.status in statuses]
