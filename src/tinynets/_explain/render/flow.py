"""The boxes and arrows of the flow diagram: which lines get a box, its title, what it holds (`BasicBlock
x3`), containers of up to 8 items opened, sums split in two; `picture.py` draws them.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..records import Frame, Line, Op, TensorFacts
from .facts import is_frozen

_MOST_ITEMS = 8


@dataclass(frozen=True)
class Box:
    """What one line calls."""

    title: str  # the calls; "" for a line that only renames a tensor
    line: str  # its place, such as `line 56`
    holds: str  # contents of the module that it calls, such as `BasicBlock x3`
    result: TensorFacts | None
    names: tuple[str, ...]  # that it assigns
    reads: tuple[str, ...]  # the names that it uses; "" is the result of the previous box
    kind: str = "step"  # or "input", or "output" for what the function returns
    frames: tuple[Frame, ...] = ()  # the modules that it calls
    frozen: bool = False  # whether none of its parameters requires a gradient


@dataclass(frozen=True)
class Flow:
    """The boxes from the arguments to the result, and the arrows between their positions."""

    boxes: list[Box]
    arrows: list[tuple[int, int]]


def flow(frame: Frame) -> Flow:
    """Connect the lines of a function by the names they assign and read."""
    latest: dict[str, int] = {}
    arrows: dict[tuple[int, int], None] = {}
    drawn = [
        Box(argument.label, "input", "", argument, (argument.label,), (), "input")
        for argument in frame.arguments
    ]
    latest.update({box.title: index for index, box in enumerate(drawn)})
    for box in _boxes(frame, known={}):
        sources = [len(drawn) - 1 if name == "" else latest.get(name, -1) for name in box.reads]
        if box.title:
            arrows.update({(start, len(drawn)): None for start in sources if start >= 0})
            latest.update({name: len(drawn) for name in box.names})
            drawn.append(box)
            continue
        source = max(sources, default=-1)
        latest.update(dict.fromkeys(box.names, source))
        if box.kind == "output" and source >= 0:  # it may be declared with better names
            drawn[source] = replace(drawn[source], kind="output", result=box.result)
    return Flow(drawn, list(arrows))


def _boxes(
    frame: Frame, *, known: dict[str, str], inside: str = "", result: tuple[str, ...] = (), last: bool = True
) -> Iterator[Box]:
    """Yield a box for every line; a method that the module calls on itself is drawn line by line.

    Args:
        frame: whose lines to draw.
        known: variable -> its name in the caller, until it is assigned to.
        inside: prefix of its other variables, so that they are not confused with the caller's.
        result: the names to which the caller assigns the result.
        last: whether the result is the output of the model.
    """

    def rename(name: str) -> str:
        return known.get(name, inside + name)

    for line in frame.lines:
        value = _value(line)
        used = ("",) if line.kind == "module" else _names_in(value) if value else ()
        reads = tuple(map(rename, used))
        returns = line.kind == "return"
        makes = result if returns and result else tuple(inside + name for name in line.names)
        kind = "output" if returns and last else "step"
        own = [inner for inner in line.frames if inner.path == frame.path]
        if len(own) == len(line.ops) == 1 and (returns or line.kind == "assign"):
            tensors = [name for name in reads if not name.endswith("self")]
            labels = [re.split(r"[\[.]", argument.label)[0] for argument in own[0].arguments]
            called = dict(zip(dict.fromkeys(labels), tensors, strict=False))  # a list has one label per item
            prefix = f"{inside}{own[0].function}."
            yield from _boxes(
                own[0], known={**called, "": ""}, inside=prefix, result=makes, last=kind == "output"
            )
        elif isinstance(value, ast.Name) and reads and not line.ops:
            yield Box("", "", "", line.values[0] if line.values else None, makes, reads, kind)
        elif line.ops or (line.values and not (returns and result)):
            box = Box(
                _title(line),
                f"line {line.line}" if line.line else line.code.partition(":")[0],
                _holds(line),
                _first(line.values),
                makes,
                reads,
                kind,
                tuple(inner for inner in line.frames if inner.path != frame.path),
                is_frozen(line),
            )
            items = _unlike_items(line)
            terms = _terms(line, value)
            if items:
                yield from _opened(line.ops[0], items, box)
            elif terms:
                yield from _sum(line, terms, box, rename)
            else:
                yield box
        elif returns and reads:
            yield Box("", "", "", None, makes, reads)
        for name in line.names:
            known.pop(name, None)


def _opened(op: Op, items: list[Line], box: Box) -> Iterator[Box]:
    """Yield a box for each item of a container; the last one returns the output of the container."""
    name = _name(op)
    for index, item in enumerate(items):
        number, kind = _item(item)
        last = index == len(items) - 1
        yield Box(
            f"{name}.{number}",
            box.line,
            f"{kind} x{item.count}" if item.count > 1 else kind,
            box.result if last else _first(item.values),
            box.names if last else (),
            ("",) if index else box.reads,
            box.kind if last else "step",
            item.frames,
            is_frozen(item),
        )


def _sum(
    line: Line, terms: tuple[ast.Name, ast.expr], box: Box, rename: Callable[[str], str]
) -> Iterator[Box]:
    """Yield `name + call(...)` as two boxes, so that the tensor that bypasses the call is visible."""
    name, call = terms
    part = f"{line.line}+"
    before = replace(line, ops=line.ops[:-1])
    result = _first(line.ops[-2].results)
    if result and box.result and result.sizes == box.result.sizes:
        result = box.result
    reads = tuple(rename(read) for read in _names_in(call))
    holds = _holds(before)
    yield replace(
        box, title=_title(before), holds=holds, result=result, names=(part,), reads=reads, kind="step"
    )
    yield replace(
        box, title=line.ops[-1].name, holds="", reads=(rename(name.id), part), frames=(), frozen=False
    )


def _title(line: Line) -> str:
    """Return `fc1 > relu` for calls where one takes the result of the other, `left, right` for others."""
    title, calls = "", _module_calls(_value(line))
    for op, previous in zip(line.ops[:4], [None, *line.ops], strict=False):
        apart = previous is not None and _are_apart(calls.get(_name(previous)), calls.get(_name(op)))
        title += (", " if apart else " > " if title else "") + _name(op)
    if len(line.ops) > 4:
        title += " > ..."
    if not title:
        title = line.code if len(line.code) < 34 else line.code[:31] + "..."
    return title + (f"  x{line.count}" if line.count > 1 else "")


def _module_calls(value: ast.AST | None) -> dict[str, ast.Call]:
    """Return the calls of attributes, such as `self.fc1(...)`, by the name of the attribute."""
    calls = [node for node in ast.walk(value) if isinstance(node, ast.Call)] if value else []
    return {call.func.attr: call for call in calls if isinstance(call.func, ast.Attribute)}


def _are_apart(first: ast.Call | None, second: ast.Call | None) -> bool:
    """Return whether the second call cannot take the result of the first one."""
    return first is not None and second is not None and first not in ast.walk(second)


def _name(op: Op) -> str:
    """Name a call by the attribute of the module, or by its class if that is a number."""
    attribute = op.module.rpartition(".")[2]
    return op.name if attribute.isdecimal() else attribute or op.name


def _item(line: Line) -> tuple[str, str]:
    """Return the positions and the class of the items that a container called."""
    number, _, kind = line.code.partition("): ")
    return number.strip("("), kind.partition("(")[0]


def _holds(line: Line) -> str:
    if len(line.ops) != 1 or not line.frames:
        return ""
    inner = line.frames[0]
    kinds = Counter[str]()
    for item in inner.lines:
        if item.kind != "module":
            return inner.module
        kinds[_item(item)[1]] += item.count
    if len(kinds) > 1:
        return inner.module
    return "".join(f"{kind} x{count}" if count > 1 else kind for kind, count in kinds.items())


def _unlike_items(line: Line) -> list[Line]:
    """Return the items of the container that a line calls, if they return tensors of several shapes."""
    if len(line.ops) != 1 or not line.frames:
        return []
    items = line.frames[0].lines
    shapes = {item.values[0].shape for item in items if item.kind == "module" and item.values}
    return items if len(shapes) > 1 and len(items) <= _MOST_ITEMS else []


def _terms(line: Line, value: ast.AST | None) -> tuple[ast.Name, ast.expr] | None:
    """Return the terms of `name + call(...)`, whichever comes first."""
    if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Add):
        return None
    if len(line.ops) < 2 or line.ops[-1].name != "add":
        return None
    for name, call in ((value.left, value.right), (value.right, value.left)):
        if isinstance(name, ast.Name) and isinstance(call, ast.Call):
            return name, call
    return None


def _value(line: Line) -> ast.AST | None:
    """Parse the value that a line computes, without its annotation, which reads no tensors."""
    if line.kind == "module":
        return None
    code = line.code.replace("return", "_ =", 1) if line.kind == "return" else line.code
    try:
        statement = ast.parse(code).body[0]
    except (SyntaxError, IndexError):
        return None
    value = statement if isinstance(statement, ast.AugAssign) else getattr(statement, "value", statement)
    return _branch(value, bool(line.ops)) if isinstance(value, ast.IfExp) else value


def _branch(value: ast.IfExp, called: bool) -> ast.AST:
    """Return the branch that was taken, if the calls tell: only one branch has any."""
    branches = (value.body, value.orelse)
    calling = [each for each in branches if any(isinstance(node, ast.Call) for node in ast.walk(each))]
    if len(calling) != 1:
        return value
    return calling[0] if called else value.orelse if calling[0] is value.body else value.body


def _names_in(node: ast.AST) -> tuple[str, ...]:
    return tuple(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))


def _first(values: tuple[TensorFacts, ...]) -> TensorFacts | None:
    return values[0] if values else None
