"""The report: what became of every check, none left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ...errors import Failure
from ..definition import Level

if TYPE_CHECKING:
    import os

    from rich.table import Table


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
        """Whether it fails the report."""
        return self.status in (Status.FAILED, Status.XPASSED)

    @property
    def message(self) -> str:
        """The objection or the note, in full."""
        if self.failure is None:
            return self.note
        declare = "" if self.level in (Level.CAPABILITY, Level.INFO) else self._declare()
        note = f"\n  note     {self.note}" if self.note else ""
        return f"{self.failure}{note}{declare}"

    def _declare(self) -> str:
        if self.status is Status.XFAILED:
            return ""
        return f'\n  declare  expected_failures={{"{self.id}": "why"}}'


@dataclass(frozen=True)
class Report:
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
        for result in self.results:
            if result.id == id:
                return result
        raise KeyError(f"the report has no check {id!r}")

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
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

    def __str__(self) -> str:
        from .formats import to_text

        return to_text(self)

    def __rich__(self) -> Table:
        from .formats import to_table

        return to_table(self)

    def print(self) -> None:
        """Print the report: a table on a terminal with rich, else plain text."""
        try:
            import rich
        except ImportError:
            print(self)
        else:
            console = rich.get_console()
            console.print(
                self if console.is_terminal else str(self), markup=False, highlight=False, soft_wrap=True
            )

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as JSON, and write it to `path` if given."""
        from .formats import to_json

        return _written(to_json(self), path)

    def to_junit(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as JUnit XML, which CI systems show, and write it to `path` if given."""
        from .formats import to_junit

        return _written(to_junit(self), path)

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the report as a table in Markdown, and write it to `path` if given."""
        from .formats import to_markdown

        return _written(to_markdown(self), path)


def _written(text: str, path: str | os.PathLike[str] | None) -> str:
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return text
