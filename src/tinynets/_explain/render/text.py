"""What `print(explanation)` prints around the table: the first line, the error, `total ...`, `in all ...`,
notes and the legend of `~`; the width (`COLUMNS`, terminal, 110, at least 60), and rich's colours.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from ..records import Run
from .columns import Segment, table
from .facts import claims, header, notes, parameters_of
from .short_numbers import not_proportional, per_sample, share
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
_LEAST_WIDTH, _USUAL_WIDTH = 60, 110


def available_width() -> int:
    """Return the width from `COLUMNS` or the terminal, or 110 if neither is known."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    for stream in (sys.stdout, sys.stderr):  # `| less` redirects only the first
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except (AttributeError, OSError, ValueError):  # not a terminal, or not a file
            continue
        if columns:
            return columns
    return _USUAL_WIDTH


def lines(run: Run, width: int | None, depth: int | None) -> Iterator[list[Segment]]:
    """Yield the printed lines of a run, as segments: a text and the name of its style."""
    width = max(_LEAST_WIDTH, width or available_width())
    for index, part in enumerate(_header(run, width)):
        yield [(part, "head" if index == 0 else "facts")]
    yield from table(run, width, depth)
    for text in run.error.splitlines()[:12]:
        for part in textwrap.wrap(text, width, subsequent_indent="  ") or [""]:
            yield [(part, "warning")]
    for part in _wrapped(f"total {' · '.join(_totals(run))}", width):
        yield [(part, "head")]
    more = " · ".join(not_proportional(run))
    for part in _wrapped(f"in all {more}", width) if more else []:
        yield [(part, "facts")]
    for part in (part for text in notes(run) for part in textwrap.wrap(text, width, subsequent_indent="  ")):
        yield [(part, "facts")]


def _header(run: Run, width: int) -> list[str]:
    call, *rest = header(run)
    conditions = " · ".join(rest)
    if len(call) + len(conditions) + 4 <= width:
        return [f"{call}    {conditions}"]
    return [*_wrapped(call, width), *(f"  {part}" for part in _wrapped(conditions, width - 2))]


def _totals(run: Run) -> list[str]:
    """Return the parts of the last line; what is known about the shapes comes last."""
    saved = "" if run.saved.value == 0 else f" and {share(run.saved, run, 'B')} saved"
    costs = f"{share(run.macs, run).replace('-', 'no')} MACs{saved} {per_sample(run)}".rstrip()
    return [parameters_of(run), costs, *claims(run)]


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text between its facts; inside a fact only if it is too long for a line."""
    held = text.replace(" ", "\0").replace("\0·\0", " · ").replace(",\0", ", ")
    parts = textwrap.wrap(held, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    long = (textwrap.wrap(part.replace("\0", " "), width, subsequent_indent="  ") for part in parts)
    return [line for part in long for line in part]


def plain(view: View, width: int | None) -> str:
    """Return the table without colours, one mode after the other."""
    blocks = [
        "\n".join("".join(text for text, _ in row).rstrip() for row in lines(run, width, view.depth))
        for run in view.runs
    ]
    if len(view.runs) > 1:
        blocks.append("~ marks the lines that differ between the modes")
    return "\n\n".join(blocks)


def coloured(view: View, width: int | None) -> bool:
    """Print the table with rich, each axis name in its own colour; return False if rich is not installed."""
    if importlib.util.find_spec("rich") is None:
        return False
    from rich.console import Console
    from rich.text import Text

    console: Any = Console(highlight=False)
    names = {name: _AXIS_COLOURS[i % len(_AXIS_COLOURS)] for name, i in view.axes.items()}
    for run in view.runs:
        for row in lines(run, width, view.depth):
            text = Text()
            for part, style in row:
                piece = Text(part, style=_STYLES.get(style, ""))
                for name, colour in names.items() if style == "shape" else ():
                    piece.highlight_regex(rf"\b{name}\b", colour)
                text.append_text(piece)
            console.print(text, soft_wrap=True)
        console.print()
    return True
