"""`Explanation`, what `tn.explain` returns: `print`, `to_text`, `to_json`, `to_markdown`, `to_html`,
`to_svg`, the display in a notebook, `proof`, and which lines differ between two modes.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .records import Frame, Line, Run
from .render.view import View

if TYPE_CHECKING:  # proofs import sympy, which `import tinynets` avoids
    from .._prove.proof import Proof


class Explanation:
    """A forward pass, line by line. `print` shows a table; a notebook displays it by itself.

    Attributes:
        model: class of the model.
        runs: one for each requested mode.
        depth: number of levels of modules to show, None for all.
    """

    def __init__(self, model: str, runs: list[Run], *, depth: int | None = 1) -> None:
        self.model = model
        self.runs = runs
        self.depth = depth
        if len(runs) > 1:
            _mark_differences(runs)

    @property
    def run(self) -> Run:
        """The first run."""
        return self.runs[0]

    @property
    def lines(self) -> list[Line]:
        """The lines of the model's own forward, in the first mode."""
        return self.run.frame.lines

    @property
    def axes(self) -> dict[str, int]:
        """Axis name -> size."""
        return self.run.axes

    @property
    def proof(self) -> Proof | None:
        """Which annotated lines hold for every size of the free axes, according to the first run.

        The trace takes one path through the branches, and the proof assumes its conditions; `tinynets prove`
        checks the other paths. None if no line is annotated, or no axis is free.
        """
        return self.run.proof

    @property
    def failed(self) -> bool:
        """Whether the forward pass raised."""
        return any(run.error for run in self.runs)

    def to_text(self, *, width: int | None = None, depth: int | None = -1) -> str:
        """Return a plain table.

        Args:
            width: maximum length of a line, at least 60; by default `COLUMNS` or the width of the terminal,
                or 110 if neither is known.
            depth: levels of modules to show, None for all; by default, as many as `explain` was called with.
        """
        from .render.text import plain

        return plain(self._view(depth), width)

    def to_json(self) -> str:
        """Return all facts as JSON."""
        from .render.json_markdown import to_json

        return to_json(self._view())

    def to_markdown(self) -> str:
        """Return a Markdown table."""
        from .render.json_markdown import to_markdown

        return to_markdown(self._view())

    def to_html(self, path: str | Path) -> Path:
        """Write a self-contained HTML page.

        Returns:
            The path.
        """
        from .render.html import to_page

        target = Path(path)
        target.write_text(to_page(self._view()), encoding="utf-8")
        return target

    def to_svg(self, path: str | Path, *blocks: Explanation) -> Path:
        """Write a self-contained SVG picture of the flow, readable on white and on black.

        Args:
            path: the file to write.
            blocks: explanations of submodules, drawn beside the model.

        Returns:
            The path.
        """
        from .render.picture import picture

        target = Path(path)
        target.write_text(picture(self._view(), *(block._view() for block in blocks)), encoding="utf-8")
        return target

    def print(self, *, width: int | None = None) -> None:
        """Print the table, in colour on a terminal if `rich` is installed."""
        from .render.text import coloured

        if sys.stdout.isatty() and coloured(self._view(), width):
            return
        print(self.to_text(width=width))

    def __str__(self) -> str:
        return self.to_text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .render.html import to_notebook

        return to_notebook(self._view())

    def _view(self, depth: int | None = -1) -> View:
        return View(self.model, self.runs, self.depth if depth == -1 else depth)


def _mark_differences(runs: list[Run]) -> None:
    """Mark the lines whose facts differ between the modes, and the lines that call them."""
    faces = [defaultdict[Place, set[Any]](set) for _ in runs]
    for run, own in zip(runs, faces, strict=True):
        for place, lines in _placed(run.frame):
            own[place].add(_face(lines[-1]))
    for run, own in zip(runs, faces, strict=True):
        for place, lines in _placed(run.frame):
            if any(_face(lines[-1]) not in other[place] for other in faces if other is not own):
                for line in lines:
                    line.differs = True


Place = tuple[Any, ...]


def _placed(
    frame: Frame, place: Place = (), callers: tuple[Line, ...] = ()
) -> Iterator[tuple[Place, tuple[Line, ...]]]:
    """Yield the place of every line in the pass, and the line itself behind those that called it."""
    for line in frame.lines:
        here = (*place, line.line, line.code if not line.line else "")
        yield here, (*callers, line)
        for index, inner in enumerate(line.frames):
            yield from _placed(inner, (*here, index), (*callers, line))


def _face(line: Line) -> Any:
    """Return what is compared between modes: everything but the costs of the backward pass."""
    shapes = tuple(replace(value, label="", memory="") for value in line.values)
    return (shapes, line.facts, line.warnings, line.count, line.failed, line.verdict)
