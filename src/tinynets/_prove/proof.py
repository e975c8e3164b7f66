"""`Proof`, the result of `tinynets prove` as text and JSON: the row of each line, and the summaries `proved
for every ...`, `wrong for ...`, `takes ... only` and `not proved: ...`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .._contract.file_names import file_name

Verdict = Literal["proved", "fails", "unproved"]
Outcome = Literal["holds", "fails", "refused"]


@dataclass(frozen=True)
class Place:
    """An annotated line."""

    file: str
    line: int
    function: str  # that it is in, such as `Block.forward`
    name: str  # of the variable or argument, or `return`
    declared: str  # the axes that it declares
    kind: str  # `argument`, `local`, `return`, `yield` or `attribute`


@dataclass(frozen=True)
class LineProof:
    """An annotated line, and whether it holds wherever the pass comes by it."""

    place: Place
    verdict: Verdict  # `proved` for every size, `fails` for one, `unproved` where the trace could not tell
    conditions: tuple[str, ...] = ()  # demands on the sizes on the way from the line before to this one
    counterexample: str = ""  # the sizes for which it is wrong: the model has run with them
    error: str = ""  # what the model raised then


@dataclass(frozen=True)
class Attempt:
    """A real call of the model, and how it ended."""

    sizes: str
    outcome: Outcome
    error: str = ""


@dataclass(frozen=True)
class Proof:
    """Whether the annotated lines of a model hold for every size of the named axes.

    The proof relies on the functions with which torch computes shapes, and is for sizes from 2 on; smaller
    sizes are run.

    Attributes:
        model: class of the model.
        axes: the names of the axes that may have any size.
        conditions: the conditions on these sizes; the model raises an error for other sizes.
        tied: axes for which the model accepts only one size, although their annotation has a name.
        lines: every annotated line that the passes reached.
        refused: calls with sizes outside of the conditions, and the errors of the model.
        small: calls with sizes of 1 and an empty batch.
        reason: why it is not proved, if no line is wrong either.
    """

    model: str
    axes: tuple[str, ...]
    conditions: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    lines: tuple[LineProof, ...] = ()
    refused: tuple[Attempt, ...] = ()
    small: tuple[Attempt, ...] = ()
    reason: str = ""

    @property
    def failed(self) -> list[LineProof]:
        """The lines that are wrong for some size."""
        return [line for line in self.lines if line.verdict == "fails"]

    @property
    def verdict(self) -> Literal["proved", "fails", "tied", "unproved"]:
        """The overall verdict: the worst that applies."""
        if self.failed:
            return "fails"
        if self.tied:
            return "tied"
        return "unproved" if self.reason else "proved"

    @property
    def summary(self) -> str:
        """The verdict in one line: `proved for every batch, and where height >= 9, width >= 9`."""
        if self.failed:
            line = self.failed[0]
            place = f"{file_name(line.place.file)}:{line.place.line}"
            sizes = f" for {line.counterexample}" if line.counterexample else ""
            return f"wrong{sizes}: {line.place.name} [{line.place.declared}] at {place}"
        if self.tied:
            return f"takes {', '.join(self.tied)} only, which the annotation does not say"
        if self.reason:
            return f"not proved: {self.reason}"
        free = [axis for axis in self.axes if not any(axis in words(text) for text in self.conditions)]
        parts = [f"for every {_listed(free)}"] if free else []
        parts += [f"where {', '.join(self.conditions)}"] if self.conditions else []
        return "proved " + (" and ".join(parts) if parts else "for its one size")

    def to_text(self) -> str:
        """Return a line for each annotated line, and the verdict."""
        texts: list[str] = [self.model]
        width = max((len(line.place.name) + len(line.place.declared) for line in self.lines), default=0) + 3
        function = ""
        for line in self.lines:
            if line.place.function != function:
                function = line.place.function
                texts.append(f"  {function}  {file_name(line.place.file)}")
            what = f"{line.place.name} [{line.place.declared}]"
            demands = f"  needs {', '.join(line.conditions)}" if line.conditions else ""
            wrong = f" for {line.counterexample}" if line.counterexample else ""
            texts.append(f"  {line.place.line:>5} {what:<{width}} {line.verdict}{wrong}{demands}")
            texts += [f"        {part}" for part in line.error.splitlines()]
        texts.append(self.summary)
        for attempt in self.refused:
            texts.append(f"  refused for {attempt.sizes}: {first_line(attempt.error)}")
        ends = {outcome: [a.sizes for a in self.small if a.outcome == outcome] for outcome in _OUTCOMES}
        said = [f"{'; '.join(sizes)}: {outcome}" for outcome, sizes in ends.items() if sizes]
        return "\n".join([*texts, *(f"  run for {text}" for text in said)])

    def to_dict(self) -> dict[str, Any]:
        """Return the proof as data for JSON."""
        lines = [{**asdict(line.place), **asdict(line)} for line in self.lines]
        for line in lines:
            del line["place"]
        return {**asdict(self), "lines": lines, "verdict": self.verdict, "summary": self.summary}


_OUTCOMES: tuple[Outcome, ...] = ("holds", "fails", "refused")


def words(text: str) -> set[str]:
    """Return the names in a condition."""
    return set(re.findall(r"\w+", text))


def sizes_text(sizes: Mapping[str, int]) -> str:
    """Write sizes: `height = 33, width = 32`."""
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def first_line(text: str) -> str:
    """Return the first line of an error."""
    return " ".join(text.strip().splitlines()[0].split()) if text.strip() else ""
