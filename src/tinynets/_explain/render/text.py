"""The table for a terminal: plain, and in colour by rich."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Iterator
from typing import Any

from ..records import Frame, Line, Run
from .facts import code_of, dtypes_of, facts_of, footer, header, is_active, shapes_of
from .view import View

_STYLES = {
    "line": "dim",
    "facts": "dim",
    "warning": "bold red",
    "active": "yellow",
    "head": "bold",
    "ok": "green",
}
_AXIS_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_red", "bright_cyan", "bright_magenta")
Segment = tuple[str, str]


def rows(run: Run, width: int, depth: int | None) -> Iterator[list[Segment]]:
    """Yield the lines of the table as segments: a text and the name of its style."""
    for index, part in enumerate(textwrap.wrap(header(run), width - 1, subsequent_indent="  ")):
        yield [(part, "head" if index == 0 else "facts")]
    for argument in run.frame.arguments:
        yield [
            ("     ", ""),
            (f"{argument.label} ", ""),
            (f"[{', '.join(argument.shape)}]", "shape"),
            (f" {dtypes_of([argument])}", "facts"),
        ]
    code_width = max(24, min(44, width - 42))
    for level, frame, line in run.frame.walk(depth):
        yield from _row(level, frame, line, width, code_width)
    if run.error:
        for text in run.error.splitlines()[:12]:
            yield [(text, "warning")]
    for text in footer(run):
        for part in textwrap.wrap(text, width - 1) or [""]:
            yield [(" " + part, "facts")]


def _row(level: int, frame: Frame, line: Line, width: int, code_width: int) -> Iterator[list[Segment]]:
    mark = ">" if line.failed else "~" if line.differs else " "
    number = f"{line.line:>4}" if line.line else "    "
    code = "  " * (level + line.indent) + code_of(line)
    if line.count > 1:
        code += f"  x{line.count}"
    if len(code) > code_width:
        code = code[: code_width - 3] + "..."
    first: list[Segment] = [
        (number + mark, "warning" if line.failed else "line"),
        (f"{code:<{code_width}} ", "code"),
    ]
    shape = shapes_of(line)
    sign = {"=": " =", "≠": f" ≠ [{', '.join(line.declared.split())}]", "": ""}[line.verdict]
    facts = "  ".join(map(str, facts_of(line)))
    used = 6 + code_width + len(shape) + len(sign)
    if shape and used <= width:
        first += [(shape, "shape"), (sign, "ok" if line.verdict == "=" else "warning")]
        if facts and used + len(facts) + 2 <= width:
            first.append(("  " + facts, "facts"))
            facts = ""
        yield first
    else:
        yield first
        for part in textwrap.wrap(shape + sign, width - 8):
            yield [("        ", ""), (part, "shape")]
    indent = " " * (7 + 2 * level)
    for part in textwrap.wrap(facts, width - len(indent), break_long_words=False) if facts else []:
        yield [(indent, ""), (part, "active" if is_active(part) else "facts")]
    for warning in line.warnings:
        for part in textwrap.wrap("! " + warning, width - len(indent)):
            yield [(indent, ""), (part, "warning")]
    for name, what in line.operands:
        yield [(indent, ""), (f"{name} = {what}"[: width - len(indent)], "facts")]


def plain(view: View, width: int) -> str:
    """Return the table without colours, one mode after the other."""
    blocks: list[str] = []
    for run in view.runs:
        lines = ["".join(text for text, _ in row).rstrip() for row in rows(run, width, view.depth)]
        blocks.append("\n".join(lines))
    if len(view.runs) > 1:
        blocks.append("~ marks the lines that differ between the modes")
    return "\n\n".join(blocks)


def coloured(view: View) -> bool:
    """Print the table by rich, each axis name in its own colour; return False if rich is not installed."""
    if importlib.util.find_spec("rich") is None:
        return False
    from rich.console import Console
    from rich.text import Text

    console: Any = Console(highlight=False)
    names = {name: _AXIS_COLOURS[i % len(_AXIS_COLOURS)] for name, i in view.axes.items()}
    for run in view.runs:
        for row in rows(run, max(60, console.width), view.depth):
            text = Text()
            for part, style in row:
                piece = Text(part, style=_STYLES.get(style, ""))
                for name, colour in names.items() if style == "shape" else ():
                    piece.highlight_regex(rf"\b{name}\b", colour)
                text.append_text(piece)
            console.print(text, soft_wrap=True)
        console.print()
    return True
