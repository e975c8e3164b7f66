"""The flow of a forward pass as a picture: in the page, and as an SVG file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from ..records import Run, TensorFacts
from .flow import Box, Flow, flow
from .markup import axis_styles, shape_markup
from .text import axis_names

if TYPE_CHECKING:
    from ..explanation import Explanation

_MOST_BOXES = 60
_WIDTH, _HEIGHT, _GAP, _LANE, _MARGIN = 210, 30, 42, 16, 16
_CHARACTER = 7.0  # width of one in the font of the labels, rounded up

FLOW_STYLE = """
.flow text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.flow text,.flow tspan{fill:currentColor}.flow .shape{font-size:11.5px}
.flow .note{fill:var(--dim);font-size:11px;font-weight:400}.flow .box{fill:var(--wash);stroke:var(--rule)}
.flow .input{fill:none;stroke-dasharray:4 3}.flow .title{font-weight:600;font-size:14px}
.flow .edge{fill:none;stroke:var(--dim)}.flow marker path{fill:var(--dim)}
"""
_LIGHT = "color:#1b1f24;--dim:#57606a;--rule:#c4cbd3;--paper:#fff;--wash:#f3f5f7;--light:27%"
_DARK = "color:#e6edf3;--dim:#9aa4ae;--rule:#444c56;--paper:#0d1117;--wash:#1b222b;--light:72%"
_PICTURE_STYLE = (
    f".tn{{{_LIGHT}}}@media (prefers-color-scheme:dark){{.tn{{{_DARK}}}}}.paper{{fill:var(--paper)}}"
)
_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
)


def flow_picture(run: Run, axes: dict[str, int]) -> str:
    """Draw one pass for the page, whose style it takes; `""` if there are too many lines."""
    found = flow(run.frame)
    if not 1 < len(found.boxes) <= _MOST_BOXES:
        return ""
    panel = _Panel(found, axes, numbers=False, note=lambda box: box.line)
    label = escape(f"Flow of {run.frame.module}.{run.frame.function}")
    size = f'viewBox="0 0 {panel.width} {panel.height}" width="{panel.width}" height="{panel.height}"'
    return f'<svg class="flow" role="img" aria-label="{label}" {size}>{_TIP}{panel.drawn}</svg>'


def picture(explanation: Explanation, *blocks: Explanation) -> str:
    """Draw a model, and beside it the blocks that it is made of, as an SVG document that stands alone.

    Args:
        explanation: of the model; below the names of the axes stand their sizes, the batch excepted.
        blocks: of modules inside; their sizes depend on the place, and are not shown.
    """
    shown = (explanation, *blocks)
    names = dict.fromkeys(name for each in shown for name in axis_names(each))
    axes = {name: index for index, name in enumerate(names)}
    panels = [
        _Panel(
            flow(each.run.frame),
            axes,
            numbers=each is explanation,
            note=lambda box: "" if box.kind == "input" else box.holds,
            title=each.model,
            subtitle=f"{each.run.parameters:,} parameters",
        )
        for each in shown
    ]
    parts = [_placed(panels[0], _MARGIN, _MARGIN)]
    top = _MARGIN
    for panel in panels[1:]:
        parts.append(_placed(panel, panels[0].width + 2 * _MARGIN, top))
        top += panel.height + _MARGIN
    width = _MARGIN + sum(max(column) + _MARGIN for column in _columns([panel.width for panel in panels]))
    height = max(panels[0].height + 2 * _MARGIN, top)
    label = escape(f"The forward pass of {explanation.model}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tn flow" role="img" aria-label="{label}"'
        f' viewBox="0 0 {width} {height}" width="{width}" height="{height}"><title>{label}</title>'
        f"<style>{_PICTURE_STYLE}{FLOW_STYLE}{axis_styles(len(axes))}</style>{_TIP}"
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>{"".join(parts)}</svg>\n'
    )


def _columns(widths: list[int]) -> list[list[int]]:
    return [widths[:1], widths[1:]] if len(widths) > 1 else [widths]


def _placed(panel: _Panel, left: int, top: int) -> str:
    return f'<g transform="translate({left} {top})">{panel.drawn}</g>\n'


@dataclass
class _Panel:
    """One flow, drawn downwards, with the shapes on its arrows."""

    flow: Flow
    axes: dict[str, int]
    numbers: bool
    note: Callable[[Box], str]
    title: str = ""
    subtitle: str = ""

    def __post_init__(self) -> None:
        boxes = self.flow.boxes
        self.top = 40 if self.title else 10
        texts = [len(box.title) + len(self.note(box)) + 3 for box in boxes]
        self.box = max(_WIDTH, round(max(texts) * _CHARACTER * 1.04) + 20)
        labels = [len(_plain(box.result)) for box in boxes]
        # Labels start in the middle of a box; arrows that pass boxes by keep to the right of them.
        self.lanes = max(self.box, self.box // 2 + 10 + round(max(labels) * _CHARACTER)) + 6
        self.lane = _lanes([arrow for arrow in self.flow.arrows if arrow[1] - arrow[0] > 1])
        self.width = self.lanes + max([lane + 1 for lane in self.lane.values()], default=0) * _LANE
        self.width = max(self.width, round((len(self.title) + len(self.subtitle)) * 8))
        self.height = self.top + len(boxes) * (_HEIGHT + _GAP) - (0 if boxes[-1].kind == "output" else _GAP)
        heading = (
            f'<text x="0" y="18" class="title">{escape(self.title)}<tspan class="note" dx="12">'
            f"{escape(self.subtitle)}</tspan></text>"
            if self.title
            else ""
        )
        parts = [self._arrow(start, end) for start, end in self.flow.arrows]
        parts += [self._box(index, box) for index, box in enumerate(boxes)]
        self.drawn = heading + "".join(parts)

    def _y(self, index: int) -> int:
        return self.top + index * (_HEIGHT + _GAP)

    def _arrow(self, start: int, end: int) -> str:
        if end == start + 1:
            return self._down(start)
        lane = self.lanes + (self.lane[start, end] + 1) * _LANE
        first, last = self._y(start) + 2 * _HEIGHT // 3, self._y(end) + _HEIGHT // 3
        path = f"M{self.box} {first}H{lane - 10}Q{lane} {first} {lane} {first + 10}V{last - 10}"
        path += f"Q{lane} {last} {lane - 10} {last}H{self.box + 2}"
        # The shape stands below the box: on the arrow that goes straight down, if there is one.
        told = (start, start + 1) in self.flow.arrows
        return f'<path class="edge" d="{path}" marker-end="url(#tip)"/>{"" if told else self._label(start)}'

    def _down(self, index: int) -> str:
        first = self._y(index) + _HEIGHT
        middle = self.box // 2
        path = f'<path class="edge" d="M{middle} {first}V{first + _GAP - 2}" marker-end="url(#tip)"/>'
        return path + self._label(index)

    def _label(self, index: int) -> str:
        result = self.flow.boxes[index].result
        if result is None:
            return ""
        x, y = self.box // 2 + 10, self._y(index) + _HEIGHT + _GAP // 2 - (2 if self.numbers else -4)
        label = f'<text class="shape" x="{x}" y="{y}">{shape_markup(result.shape, self.axes, "tspan")}</text>'
        if self.numbers and result.shape[:1] == ("batch",):
            size = " x ".join("?" if size is None else f"{size:,}" for size in result.sizes[1:])
            label += f'<text class="note" x="{x}" y="{y + 14}">{size}</text>'
        return label

    def _box(self, index: int, box: Box) -> str:
        y = self._y(index)
        note = self.note(box)
        kind = "box input" if box.kind == "input" else "box"
        return (
            f"<g><title>{escape(f'{box.line}: {box.title}' if not self.title else box.title)}</title>"
            f'<rect class="{kind}" x="0.5" y="{y}" width="{self.box - 1}" height="{_HEIGHT}" rx="6"/>'
            f'<text x="10" y="{y + 19}">{escape(box.title)}</text>'
            f'<text class="note" text-anchor="end" x="{self.box - 10}" y="{y + 19}">{escape(note)}</text></g>'
            f"{self._down(index) if box.kind == 'output' else ''}"
        )


def _lanes(arrows: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Give arrows that run side by side lanes of their own, the shortest nearest to the boxes."""
    lanes: dict[tuple[int, int], int] = {}
    for start, end in sorted(arrows, key=lambda arrow: arrow[1] - arrow[0]):
        taken = {lane for other, lane in lanes.items() if other[0] < end and start < other[1]}
        lanes[start, end] = next(lane for lane in range(len(taken) + 1) if lane not in taken)
    return lanes


def _plain(result: TensorFacts | None) -> str:
    return f"[{', '.join(result.shape)}]" if result else ""
