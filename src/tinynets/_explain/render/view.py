"""The input of a renderer: the runs of a model, the depth, the axes that may have any size (the fields of the
page), and a number for the colour of each axis name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from ..records import Run

_NAME = re.compile(r"([A-Za-z_]\w*)", re.ASCII)
Pieces = list[tuple[str, int | None]]


@dataclass(frozen=True)
class View:
    """What to show of a model."""

    model: str  # its class
    runs: list[Run]  # one for each mode
    depth: int | None  # how many levels of modules to show, None for all

    @cached_property
    def axes(self) -> dict[str, int]:
        """Axis name -> number of its colour, in the order in which the names appear."""
        return colours_of([self])

    @cached_property
    def free(self) -> dict[str, int]:
        """Axis name -> size, for the axes that may have any size."""
        return {name: run.axes[name] for run in reversed(self.runs) for name in run.free}

    def pieces(self, axis: str) -> Pieces:
        """Split the text of an axis into names with their colours and what stands between them."""
        return split(axis, self.axes)


def colours_of(views: Iterable[View]) -> dict[str, int]:
    """Return a number for every axis name, in the order in which the names appear."""
    found: dict[str, None] = {}
    for run in (run for view in views for run in view.runs):
        found.update(dict.fromkeys(run.axes))
        for argument in run.frame.arguments:
            found.update(_names(argument.shape))
        for _, frame, line in run.frame.walk():
            for value in (*line.values, *frame.arguments):
                found.update(_names(value.shape))
    return {name: index for index, name in enumerate(found)}


def split(axis: str, colours: dict[str, int]) -> Pieces:
    """Split the text of an axis into names with their colours and what stands between them."""
    return [(part, colours.get(part)) for part in _NAME.split(axis) if part]


def _names(shape: tuple[str, ...]) -> dict[str, None]:
    return {name: None for axis in shape for name in _NAME.findall(axis) if name != "self"}
