"""An explanation as JSON and as Markdown."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ..._contract.file_names import file_name
from .facts import code_of, facts_of, footer, header, shapes_of
from .view import View


def to_data(view: View) -> dict[str, Any]:
    """Return all facts as plain dictionaries and lists, with the fields of `records`."""
    return {"model": view.model, "runs": [dataclasses.asdict(run) for run in view.runs]}


def to_json(view: View) -> str:
    """Return all facts as JSON."""
    return json.dumps(to_data(view), indent=2, ensure_ascii=False)


def to_markdown(view: View) -> str:
    """Return a Markdown table for each mode."""
    blocks: list[str] = []
    for run in view.runs:
        lines = [f"**{header(run)}**", "", "| line | code | shape | facts |", "|---:|---|---|---|"]
        for level, frame, line in run.frame.walk(view.depth):
            number = f"{file_name(frame.file)}:{line.line}" if level and line.line else str(line.line or "")
            times = f" x{line.count}" if line.count > 1 else ""
            mark = {"=": " =", "≠": f" **≠ [{', '.join(line.declared.split())}]**", "": ""}[line.verdict]
            shape = f"`{shapes_of(line)}`{mark}" if line.values else ""
            facts = [str(fact) for fact in facts_of(line)]
            facts += [f"**! {warning}**" for warning in line.warnings]
            facts += [f"`{name}` = {what}" for name, what in line.operands]
            if line.failed:
                facts.append("**failed here**")
            code = "· " * level + _code(code_of(line)) + times
            lines.append(f"| {number} | {code} | {shape} | {_cell('; '.join(facts))} |")
        lines += ["", *([f"`{run.error.splitlines()[0]}`", ""] if run.error else []), "; ".join(footer(run))]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _code(text: str) -> str:
    return f"`{_cell(text).replace('`', ' ')}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
