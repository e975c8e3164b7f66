"""What became of every check, as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from ...errors import Failure
from ..check_ids import current_id
from ..definition import Level


class Status(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    """It failed, as an exemption says."""
    XPASSED = "xpassed"
    """It passed although an exemption says that it fails: remove the exemption."""
    ERROR = "error"
    """It could not be judged: the check broke or ran out of time. It says nothing about the model."""


@dataclass(frozen=True)
class Result:
    """What became of one check.

    Args:
        id: of the check.
        level: of the check.
        status: what became of it.
        note: what a check that passed has to say, why one was skipped, or the reason of an exemption.
        failure: the objection, if there was one.
        seconds: how long it took.
    """

    id: str
    level: Level
    status: Status
    note: str = ""
    failure: Failure | None = None
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        """Whether it fails the report: a failure, or no verdict where there must be one."""
        unjudged = self.status is Status.ERROR and self.level is Level.MUST
        return unjudged or self.status in (Status.FAILED, Status.XPASSED)

    @property
    def message(self) -> str:
        """The objection or the note, in full."""
        if self.failure is None:
            return self.note
        lines = [str(self.failure)]
        if self.note:
            lines.append(f"  note     {self.note}")
        if self.level in (Level.MUST, Level.SHOULD) and self.status in (Status.FAILED, Status.WARNED):
            lines.append(f'  declare  expected_failures={{"{self.id}": "why"}}')
        return "\n".join(lines)


@dataclass(frozen=True)
class Results:
    """What became of every check of one model, in the order they ran.

    `report["batch.neighbour"]` is the result of one check.

    Args:
        name: of the model.
        results: one for every check.
        environment: versions and machine, as a table would name them.
    """

    name: str
    results: tuple[Result, ...]
    environment: dict[str, str] = field(default_factory=dict[str, str])

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
    def ok(self) -> bool:
        """Whether nothing failed, and every check that must pass could be judged."""
        return not any(result.bad for result in self.results)

    @property
    def counts(self) -> dict[str, int]:
        """How many checks ended in each status, those that did not occur left out."""
        found = Counter(result.status.value for result in self.results)
        return {status.value: found[status.value] for status in Status if found[status.value]}

    @property
    def seconds(self) -> float:
        """How long all checks took."""
        return sum(result.seconds for result in self.results)

    def with_status(self, *statuses: Status | str) -> list[Result]:
        """Return the results in some statuses."""
        return [result for result in self.results if result.status in statuses]
