"""The table for a terminal: heads, widths, cut code, short numbers, `>` where the pass failed, `~` where
modes differ, rows that are left out, dtype and layout among the notes, warnings with `!`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from ..records import Frame, Line, Run, TensorFacts
from .facts import code_of, costs_of, dtypes_of, is_active, notes_of, shapes_of
from .short_numbers import share, short

Segment = tuple[str, str]  # a text and the name of its style
_HEADS = ("params", "MACs", "memory")
# Code is cut to make room for notes, but not below this; notes that do not fit are below their rows.
_LEAST_CODE, _SHORTEST_CODE, _LEAST_OUTPUT, _NOTES = 36, 12, 22, 16


@dataclass(frozen=True)
class Row:
    """A line as texts."""

    line: Line
    number: str  # with `>` behind it where the pass failed, `~` where the modes differ
    indent: int  # of what stands below the row
    code: str  # indented by its level
    output: str  # the shapes that it made
    costs: tuple[str, str, str]  # parameters, multiply-accumulates and memory
    notes: str


@dataclass(frozen=True)
class Widths:
    """The width of every column; `notes` gets the rest."""

    code: int
    output: int
    verdict: int
    costs: tuple[int, ...]
    notes: int


def rows_of(run: Run, depth: int | None) -> list[Row]:
    """Return the rows of a run; a change of dtype is a note."""
    dtype = _dtype(run.frame.arguments)
    rows: list[Row] = []
    for level, frame, line in run.frame.walk(depth):
        if _only_returns(line, frame):
            continue
        here = _dtype(line.values) or dtype
        layouts = [value.layout for value in line.values if value.layout != "contiguous"]
        notes = [*([here] if here != dtype else []), *dict.fromkeys(layouts), *notes_of(line)]
        rows.append(_row(run, level, line, " · ".join(notes)))
        dtype = here
    return rows


def _only_returns(line: Line, frame: Frame) -> bool:
    """Return whether a line only returns the result of the line before, which needs no row."""
    before = frame.lines[frame.lines.index(line) - 1]
    same = line.code == f"return {', '.join(before.names)}" and line.verdict != "≠" and not line.differs
    return same and not line.failed and not line.ops and not notes_of(line)


def _dtype(values: tuple[TensorFacts, ...]) -> str:
    return dtypes_of(values).partition(" ")[0]


def _row(run: Run, level: int, line: Line, notes: str) -> Row:
    number = f"{line.line or '':>4}" + (">" if line.failed else "~" if line.differs else " ")
    steps = 2 * (level + line.indent)
    code = " " * steps + code_of(line) + (f"  x{line.count}" if line.count > 1 else "")
    if line.kind == "control" or line.failed or not (line.values or line.ops):
        return Row(line, number, 7 + steps, code, "", ("", "", ""), notes)
    memory = str(costs_of(line)[2])
    costs = (
        short(line.parameters) if line.parameters else "-",
        share(line.macs, run),
        share(line.allocated, run, "B") if line.allocated.value != 0 else memory or "-",
    )
    return Row(line, number, 7 + steps, code, shapes_of(line), costs, notes)


def widths_of(rows: list[Row], width: int) -> Widths:
    """Divide the width: first the numbers, then shapes and code as needed, then the notes."""
    costs = tuple(max(map(len, (head, *(row.costs[i] for row in rows)))) for i, head in enumerate(_HEADS))
    verdict = 2 if any(row.line.verdict for row in rows) else 0
    room = width - 5 - verdict - sum(2 + cost for cost in costs) - 1
    code = max([4, *(len(row.code) for row in rows if row.output)])  # others may be longer
    output = max([6, *(len(row.output) for row in rows)])
    output = min(output, max(room - code, room * 2 // 5, min(_LEAST_OUTPUT, room - _SHORTEST_CODE)))
    notes = min(max([0, *(len(row.notes) for row in rows)]), _NOTES)
    left = room - output - (notes + 2 if notes else 0)
    code = min(code, left if left >= _LEAST_CODE else room - output)
    return Widths(code, output, verdict, costs, max(0, room - code - output - 2))


def table(run: Run, width: int, depth: int | None) -> Iterator[list[Segment]]:
    """Yield the lines of the table, the heads of its columns first."""
    rows = rows_of(run, depth)
    widths = widths_of(rows, width)
    heads = "".join(f"  {head:>{size}}" for head, size in zip(_HEADS, widths.costs, strict=True))
    notes = "  notes" if any(0 < len(row.notes) <= widths.notes for row in rows) else ""
    yield [
        (f"line {'code':<{widths.code}} {'output':<{widths.output + widths.verdict}}{heads}{notes}", "head")
    ]
    for row in rows:
        yield from _lines(row, widths, width)


def _lines(row: Row, widths: Widths, width: int) -> Iterator[list[Segment]]:
    line = row.line
    style = "warning" if line.failed else "line"
    if not (row.output or row.notes or any(row.costs)):  # alone, so it may be longer than its column
        yield [(row.number, style), (shorten(row.code, width - len(row.number)), "code")]
    else:
        yield from _columns(row, widths, width, style)
    indent, space = (" " * row.indent, ""), max(24, width - row.indent)
    for warning in line.warnings:
        for part in textwrap.wrap("! " + warning, space):
            yield [indent, (part, "warning")]
    for name, what in line.operands:
        yield [indent, (f"{name} = {what}"[:space], "facts")]


def _columns(row: Row, widths: Widths, width: int, style: str) -> Iterator[list[Segment]]:
    verdict = row.line.verdict
    output, *more = textwrap.wrap(row.output, widths.output) or [""]
    beside = len(row.notes) <= widths.notes
    numbers = (f"  {cost:>{size}}" for cost, size in zip(row.costs, widths.costs, strict=True))
    yield [
        (row.number, style),
        (f"{shorten(row.code, widths.code):<{widths.code}} ", "code"),
        (f"{output:<{widths.output}}", "shape"),
        (f"{verdict:>{widths.verdict}}", "ok" if verdict == "=" else "warning"),
        ("".join(numbers), "facts"),
        (f"  {row.notes}" if beside else "", _style(row.notes)),
    ]
    for part in more:
        yield [(" " * (6 + widths.code), ""), (part, "shape")]
    for part in [] if beside else textwrap.wrap(row.notes, max(24, width - row.indent)):
        yield [(" " * row.indent, ""), (part, _style(part))]


def _style(note: str) -> str:
    return "warning" if "declares [" in note else "active" if is_active(note) else "facts"


def shorten(code: str, width: int) -> str:
    """Cut code in its last argument: `rearrange(images, "b c h w -> ...)`."""
    if len(code) <= width:
        return code
    end = "...)" if code.endswith(")") else "..."
    return code[: max(0, width - len(end))] + end[-width:]
