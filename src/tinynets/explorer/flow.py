"""The flow of a forward pass as a picture: a box for every line, an arrow for every tensor it hands on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from .markup import Markup
from .records import Frame, Line, Run

_WIDTH, _HEIGHT, _GAP, _LEFT, _LANE = 250, 34, 46, 30, 22
_MOST_BOXES = 60


@dataclass
class _Box:
    title: str
    note: str
    shape: tuple[str, ...]
    names: tuple[str, ...]
    reads: tuple[str, ...]


def flow_picture(run: Run, markup: Markup) -> str:
    """Draw the model's own lines downwards, with shapes on the arrows; `""` if there are too many."""
    frame = run.frame
    boxes = [
        _Box(argument.label, "input", argument.shape, (argument.label,), ()) for argument in frame.arguments
    ]
    boxes += list(_boxes(frame, {}))
    arrows, boxes = _arrows(boxes)
    if not 1 < len(boxes) <= _MOST_BOXES:
        return ""
    lanes = max([end - start for start, end in arrows if end - start > 1], default=0)
    height = len(boxes) * (_HEIGHT + _GAP) - _GAP + 20
    width = _LEFT + _WIDTH + 240 + min(lanes, 6) * _LANE
    parts = [_arrow(start, end, boxes[start], markup) for start, end in arrows]
    parts += [_drawn(index, box) for index, box in enumerate(boxes)]
    label = f"Flow of {frame.module}.{frame.function}"
    return (
        f'<svg class="flow" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4"'
        ' markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>'
        f"</defs>{''.join(parts)}</svg>"
    )


def _boxes(frame: Frame, names: dict[str, str], result: tuple[str, ...] = ()) -> Iterator[_Box]:
    """Yield a box for every line; a method that the module calls on itself is drawn line by line.

    Args:
        frame: whose lines to draw.
        names: what the caller calls the arguments.
        result: the names that the caller gives to what is returned.
    """
    inside = f"{frame.function}." if names else ""
    for line in frame.lines:
        reads = tuple(names.get(name, inside + name) for name in _reads(line))
        makes = result if line.kind == "return" and result else tuple(inside + name for name in line.names)
        own = [inner for inner in line.frames if inner.path == frame.path]
        if len(own) == len(line.ops) == 1 and line.kind in ("assign", "return"):
            tensors = [name for name in reads if not name.endswith("self")]
            arguments = [argument.label for argument in own[0].arguments]
            called = {name: tensors[i] for i, name in enumerate(arguments[: len(tensors)])}
            yield from _boxes(own[0], {**called, "": ""}, makes)
        elif line.ops or (line.values and not (line.kind == "return" and result)):
            yield _box(line, makes, reads)
        elif line.kind == "return" and reads:
            yield _Box("", "", (), makes, reads)  # only another name for what is there already


def _box(line: Line, names: tuple[str, ...], reads: tuple[str, ...]) -> _Box:
    calls = [op.module.rpartition(".")[2] or op.name for op in line.ops]
    title = " > ".join(calls[:4]) + (" > ..." if len(calls) > 4 else "")
    if not title:
        title = line.code if len(line.code) < 34 else line.code[:31] + "..."
    if line.count > 1:
        title += f"  x{line.count}"
    note = f"line {line.line}" if line.line else line.code.partition(":")[0]
    return _Box(title, note, line.values[0].shape if line.values else (), names, reads)


def _reads(line: Line) -> tuple[str, ...]:
    if line.kind == "module":
        return ("",)
    code = line.code.replace("return", "_ =", 1) if line.kind == "return" else line.code
    try:
        statement = ast.parse(code).body[0]
    except (SyntaxError, IndexError):
        return ()
    value = getattr(statement, "value", statement)  # an annotation reads nothing that flows
    parts = [value, statement.target] if isinstance(statement, ast.AugAssign) else [value]
    return tuple(n.id for part in parts if part for n in ast.walk(part) if isinstance(n, ast.Name))


def _arrows(boxes: list[_Box]) -> tuple[list[tuple[int, int]], list[_Box]]:
    """Connect the boxes by the names they make and read; those without a title only pass a name on."""
    latest: dict[str, int] = {}
    arrows: dict[tuple[int, int], None] = {}
    drawn: list[_Box] = []
    for box in boxes:
        sources = [len(drawn) - 1 if name == "" else latest.get(name, -1) for name in box.reads]
        if not box.title:
            latest.update({name: max(sources) for name in box.names})
            continue
        arrows.update({(start, len(drawn)): None for start in sources if start >= 0})
        latest.update({name: len(drawn) for name in box.names})
        drawn.append(box)
    return list(arrows), drawn


def _top(index: int) -> int:
    return 10 + index * (_HEIGHT + _GAP)


def _arrow(start: int, end: int, box: _Box, markup: Markup) -> str:
    shape = re.sub(r"(</?)span", r"\1tspan", markup.shape(box.shape)) if box.shape else ""
    middle = _LEFT + _WIDTH // 2
    if end == start + 1:
        first, last = _top(start) + _HEIGHT, _top(end)
        path = f"M{middle} {first}V{last - 2}"
        text = f'<text x="{middle + 8}" y="{(first + last) // 2 + 4}">{shape}</text>'
    else:
        lane = _LEFT + _WIDTH + 150 + min(end - start, 6) * _LANE
        first, last = _top(start) + _HEIGHT // 2, _top(end) + _HEIGHT // 2
        side = _LEFT + _WIDTH
        path = f"M{side} {first}H{lane - 10}Q{lane} {first} {lane} {first + 10}V{last - 10}"
        path += f"Q{lane} {last} {lane - 10} {last}H{side + 2}"
        text = f'<text x="{side + 8}" y="{last - 6}">{shape}</text>'
    return f'<path class="edge" d="{path}" marker-end="url(#tip)"/>{text}'


def _drawn(index: int, box: _Box) -> str:
    top = _top(index)
    title = box.title if len(box.title) <= 30 else box.title[:28] + "..."
    return (
        f'<g><title>{escape(box.note)}: {escape(box.title)}</title><rect class="box" x="{_LEFT}" y="{top}"'
        f' width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{_LEFT + 10}" y="{top + 22}">{escape(title)}</text>'
        f'<text class="note" text-anchor="end" x="{_LEFT + _WIDTH - 10}" y="{top + 22}">'
        f"{escape(box.note)}</text></g>"
    )
