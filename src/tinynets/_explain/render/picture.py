"""The layout of the flow diagram (sizes of boxes, lanes of arrows, labels, panels that open with a click, at
most 60 boxes), and the SVG file of `to_svg`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..records import Run
from .flow import Box, Flow, flow
from .templates import render
from .view import Pieces, View, colours_of, split

_MOST_BOXES = 60
_WIDTH, _HEIGHT, _GAP, _LANE, _MARGIN = 210, 30, 42, 16, 16
_CHARACTER = 7.0  # width of a character in the font of the labels, rounded up


def flow_panels(run: Run, colours: dict[str, int], name: str) -> list[tuple[str, Panel]]:
    """Lay out one pass for the page, and below it every module that opens with a click on its box.

    Returns titles and panels, the model first; a function of too many lines is left out. The ids of panels
    begin with `name`: no two in a document may be the same.
    """

    def note(box: Box) -> str:
        return f"{box.line} · frozen" if box.frozen else box.line

    frames, panels = [run.frame], list[tuple[str, Panel]]()
    for number, frame in enumerate(frames):  # which grow during the loop
        found = flow(frame)
        if not _is_drawn(found):
            continue
        links: dict[int, str] = {}
        for index, box in enumerate(found.boxes):
            inner = next((each for each in box.frames if _is_drawn(flow(each))), None)
            if inner is not None:
                links[index] = f"{name}-{len(frames)}"
                frames.append(inner)
        identity = f"{name}-{number}"
        panel = Panel(found, colours, numbers=False, note=note, identity=identity, links=links)
        panels.append((f"{frame.path}: {frame.module}".removeprefix(": "), panel))
    return panels


def _is_drawn(found: Flow) -> bool:
    return 1 < len(found.boxes) <= _MOST_BOXES


def picture(view: View, *blocks: View) -> str:
    """Draw a model, and beside it the blocks that it consists of, as a self-contained SVG document.

    Args:
        view: the model; sizes are below the names of the axes, except for the batch.
        blocks: modules inside; their sizes depend on the place, and are not shown.
    """
    shown = (view, *blocks)
    colours = colours_of(shown)
    panels = [
        Panel(
            flow(each.runs[0].frame),
            colours,
            numbers=each is view,
            note=lambda box: "" if box.kind == "input" else box.holds,
            title=each.model,
            subtitle=f"{each.runs[0].parameters:,} parameters",
        )
        for each in shown
    ]
    first, *others = panels
    placed = [(first, _MARGIN, _MARGIN)]
    top = _MARGIN
    for panel in others:
        placed.append((panel, first.width + 2 * _MARGIN, top))
        top += panel.height + _MARGIN
    columns = [first.width, *([max(panel.width for panel in others)] if others else [])]
    return render(
        "picture.svg.j2",
        model=view.model,
        placed=placed,
        width=_MARGIN + sum(column + _MARGIN for column in columns),
        height=max(first.height + 2 * _MARGIN, top),
        count=len(colours),
    )


@dataclass(frozen=True)
class Label:
    """A shape at an arrow, and below it the sizes of its axes."""

    x: int
    y: int
    shape: list[Pieces]
    note: str


@dataclass(frozen=True)
class Arrow:
    """An arrow as an SVG path, with the shape of its tensor."""

    path: str
    label: Label | None


@dataclass(frozen=True)
class DrawnBox:
    """A box, and an arrow out of the picture if the function returns its result."""

    y: int
    title: str
    tooltip: str
    note: str
    is_input: bool
    is_frozen: bool
    output: Arrow | None
    link: str


class Panel:
    """One flow, laid out downwards."""

    box_height = _HEIGHT

    def __init__(
        self,
        flow: Flow,
        colours: dict[str, int],  # axis name -> number of its colour
        *,
        numbers: bool,  # whether the sizes stand below the names of the axes
        note: Callable[[Box], str],  # what stands at the right of a box
        title: str = "",  # above the panel
        subtitle: str = "",  # behind the title
        identity: str = "flow",  # its id in the document
        links: dict[int, str] | None = None,  # position of a box -> id of the panel that shows what is inside
    ) -> None:
        self.title, self.subtitle, self.identity = title, subtitle, identity
        self._links = links or {}
        self._flow, self._colours, self._numbers, self._note = flow, colours, numbers, note
        boxes = flow.boxes
        self._top = 40 if title else 10
        texts = [len(box.title) + len(note(box)) + 3 for box in boxes]
        self.box_width = max(_WIDTH, round(max(texts) * _CHARACTER * 1.04) + 20)
        labels = [len(f"[{', '.join(box.result.shape)}]") if box.result else 0 for box in boxes]
        # Labels start in the middle of a box; arrows that pass boxes by keep to the right of them.
        self._lanes = max(self.box_width, self.box_width // 2 + 10 + round(max(labels) * _CHARACTER)) + 6
        self._lane = _lanes([arrow for arrow in flow.arrows if arrow[1] - arrow[0] > 1])
        width = self._lanes + max([lane + 1 for lane in self._lane.values()], default=0) * _LANE
        self.width = max(width, round((len(title) + len(subtitle)) * 8))
        self.height = self._top + len(boxes) * (_HEIGHT + _GAP) - (0 if boxes[-1].kind == "output" else _GAP)
        self.arrows = [self._arrow(start, end) for start, end in flow.arrows]
        self.boxes = [self._box(index, box) for index, box in enumerate(boxes)]

    def _y(self, index: int) -> int:
        return self._top + index * (_HEIGHT + _GAP)

    def _arrow(self, start: int, end: int) -> Arrow:
        if end == start + 1:
            return self._down(start)
        lane = self._lanes + (self._lane[start, end] + 1) * _LANE
        first, last = self._y(start) + 2 * _HEIGHT // 3, self._y(end) + _HEIGHT // 3
        path = f"M{self.box_width} {first}H{lane - 10}Q{lane} {first} {lane} {first + 10}V{last - 10}"
        path += f"Q{lane} {last} {lane - 10} {last}H{self.box_width + 2}"
        # The shape is below the box: at the arrow that goes straight down, if there is one.
        told = (start, start + 1) in self._flow.arrows
        return Arrow(path, None if told else self._label(start))

    def _down(self, index: int) -> Arrow:
        first = self._y(index) + _HEIGHT
        return Arrow(f"M{self.box_width // 2} {first}V{first + _GAP - 2}", self._label(index))

    def _label(self, index: int) -> Label | None:
        result = self._flow.boxes[index].result
        if result is None:
            return None
        x, y = self.box_width // 2 + 10, self._y(index) + _HEIGHT + _GAP // 2 - (2 if self._numbers else -4)
        shown = self._numbers and result.shape[:1] == ("batch",)
        sizes = " x ".join("?" if size is None else f"{size:,}" for size in result.sizes[1:])
        return Label(x, y, [split(axis, self._colours) for axis in result.shape], sizes if shown else "")

    def _box(self, index: int, box: Box) -> DrawnBox:
        return DrawnBox(
            y=self._y(index),
            title=box.title,
            tooltip=box.title if self.title else f"{box.line}: {box.title}",
            note=self._note(box),
            is_input=box.kind == "input",
            is_frozen=box.frozen,
            output=self._down(index) if box.kind == "output" else None,
            link=self._links.get(index, ""),
        )


def _lanes(arrows: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Assign separate lanes to arrows that run side by side, the shortest nearest to the boxes."""
    lanes: dict[tuple[int, int], int] = {}
    for start, end in sorted(arrows, key=lambda arrow: arrow[1] - arrow[0]):
        taken = {lane for other, lane in lanes.items() if other[0] < end and start < other[1]}
        lanes[start, end] = next(lane for lane in range(len(taken) + 1) if lane not in taken)
    return lanes
