"""An explanation as JSON, with all fields of `records.py`, and as Markdown: the columns of its table, the
marks `≠` and `failed here`, and the line of totals below.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ..._contract.file_names import file_name
from ..records import Run
from .facts import code_of, costs_of, dtypes_of, header, notes, notes_of, shapes_of, totals
from .view import View


def to_data(view: View) -> dict[str, Any]:
    """Return all facts as plain dictionaries and lists, with the fields of `records`."""
    return {"model": view.model, "runs": [dataclasses.asdict(run) for run in view.runs]}


def to_json(view: View) -> str:
    """Return all facts as JSON."""
    return json.dumps(to_data(view), indent=2, ensure_ascii=False)


def to_markdown(view: View) -> str:
    """Return a Markdown table for each mode."""
    return "\n".join(run_markdown(run, view.depth) for run in view.runs)


def run_markdown(run: Run, depth: int | None) -> str:
    """Return a Markdown table of one run."""
    lines = [
        f"**{' · '.join(header(run))}**",
        "",
        "| line | code | output | params | MACs | memory | notes |",
        "|---:|---|---|---:|---:|---:|---|",
    ]
    for level, frame, line in run.frame.walk(depth):
        number = f"{file_name(frame.file)}:{line.line}" if level and line.line else str(line.line or "")
        times = f" x{line.count}" if line.count > 1 else ""
        mark = {"=": " =", "≠": " **≠**", "": ""}[line.verdict]
        shape = f"`{shapes_of(line)}`{mark} {dtypes_of(line.values)}" if line.values else ""
        notes_here = notes_of(line)
        notes_here += [f"**! {warning}**" for warning in line.warnings]
        notes_here += [f"`{name}` = {what}" for name, what in line.operands]
        if line.failed:
            notes_here.append("**failed here**")
        cells = [number, "· " * level + _code(code_of(line)) + times, shape, *map(str, costs_of(line))]
        lines.append(f"| {' | '.join([*cells, _cell('; '.join(notes_here))])} |")
    error = [f"`{run.error.splitlines()[0]}`", ""] if run.error else []
    return "\n".join([*lines, "", *error, "; ".join([*map(str, totals(run)), *notes(run)])]) + "\n"


def _code(text: str) -> str:
    return f"`{_cell(text).replace('`', ' ')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
