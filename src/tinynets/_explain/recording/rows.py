"""Make the rows of the table from events: the value of every field of a `Line` (named shape, verdict,
parameters, MACs, bytes, warnings), and loops and equal items folded into `x12`.
"""

# Sizes are ints or sympy expressions, which have no types.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..._contract.annotations.class_scope import declared_axes
from ..._contract.annotations.specs import ArraySpec
from ..._contract.contract import contract_of
from ...inputs.size_text import axis_text
from ...inputs.symbolic_sizes import Sizes
from ..records import Frame, Line, Op, TensorFacts, Verdict
from .amounts import amount
from .declarations import Declarations
from .events import CallEvent, LineEvent, RawOp, RawTensor
from .sources import axis_string

Parameters = Mapping[int, torch.Tensor]  # by id


@dataclass
class _DeclaredShapes:
    """The axis strings that a function declares for its arguments, its lines and its result."""

    arguments: dict[str, str] = field(default_factory=dict[str, str])
    lines: dict[int, str] = field(default_factory=dict[int, str])
    returns: str = ""


def build_frame(call: CallEvent, sizes: Sizes, parameters: Parameters) -> Frame:
    """Turn one recorded call, and all calls below it, into a frame."""
    shapes = _declared_shapes(call)
    module_axes = frozenset(declared_axes(call.owner))
    # The header shows the axes of the model itself; a submodule may use the same name for another size.
    declarations = Declarations(sizes, call.owner, module_axes, None if call.path else sizes.measured)
    frame = Frame(call.path, type(call.owner).__name__, call.function, call.file, call.line)
    frame.arguments = tuple(
        _tensor(argument, sizes, declarations, shapes.arguments.get(argument.label, ""))[0]
        for argument in call.arguments
    )
    lines = [_line(event, call, shapes, declarations, parameters) for event in call.lines]
    frame.lines = _folded(list(zip(call.lines, lines, strict=True)), sizes, parameters)
    return frame


def _declared_shapes(call: CallEvent) -> _DeclaredShapes:
    found = _DeclaredShapes()
    if call.source is not None:
        node = call.source.node
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        found.arguments = {a.arg: axis_string(a.annotation) for a in every}
        found.returns = axis_string(node.returns)
    record = contract_of(getattr(type(call.owner), call.function, None))
    if record is not None:  # it has resolved aliases and inherited annotations
        for site in record.sites:
            if not isinstance(site.spec, ArraySpec):
                continue
            if site.kind == "argument":
                found.arguments[site.name] = site.spec.axes.text
            elif site.kind == "return":
                found.returns = site.spec.axes.text
            else:
                found.lines[site.line] = site.spec.axes.text
    return found


def _tensor(
    raw: RawTensor, sizes: Sizes, declarations: Declarations, declared: str = ""
) -> tuple[TensorFacts, Verdict]:
    shape = tuple(sizes.resolve(size) for size in raw.shape)
    verdict: Verdict = ""
    texts = expressions = tuple(axis_text(size) for size in shape)
    if declared:
        verdict, texts = declarations.compare(declared, shape)
    numbers = tuple(sizes.number(size) for size in shape)
    return TensorFacts(
        raw.label, texts, numbers, expressions, raw.dtype, raw.device, raw.layout, raw.memory
    ), verdict


def _line(
    event: LineEvent,
    call: CallEvent,
    shapes: _DeclaredShapes,
    declarations: Declarations,
    parameters: Parameters,
) -> Line:
    sizes = declarations.sizes
    statement = event.statement
    line = Line(call.file if statement else "", 0, event.code, "module")
    if statement is not None:
        line.indent = statement.indent
        line.line, line.kind, line.names = statement.node.lineno, statement.kind, statement.names
        line.declared, line.declared_by = statement.declared, statement.declared_by
        known = shapes.returns if line.kind == "return" else shapes.lines.get(line.line, "")
        if line.declared_by != "comment" and isinstance(statement.node, ast.AnnAssign | ast.Return):
            line.declared = known or line.declared
            line.declared_by = "annotation" if line.declared else ""
    declared = line.declared if len(event.values) == 1 else ""
    judged = [_tensor(value, sizes, declarations, declared) for value in event.values]
    line.values = tuple(facts for facts, _ in judged)
    line.verdict = judged[0][1] if declared else ""
    line.ops = tuple(_op(op, sizes, declarations) for op in event.ops)
    line.frames = tuple(build_frame(inner, sizes, parameters) for inner in event.calls)
    line.failed, line.autocast = event.failed, event.autocast
    line.warnings = tuple(sizes.rename(warning) for warning in event.warnings)
    if event.failed:
        line.operands = tuple(
            (name, _described(value, sizes, declarations)) for name, value in event.operands
        )
    return line


def _op(op: RawOp, sizes: Sizes, declarations: Declarations) -> Op:
    def tensors(raws: list[RawTensor]) -> tuple[TensorFacts, ...]:
        return tuple(_tensor(raw, sizes, declarations)[0] for raw in raws)

    return Op(op.name, op.module, tensors(op.results), tensors(op.inputs), op.kernel_size)


def _described(value: RawTensor | str, sizes: Sizes, declarations: Declarations) -> str:
    if isinstance(value, str):
        return value
    facts, _ = _tensor(value, sizes, declarations)
    return f"[{', '.join(facts.shape)}] {facts.dtype}"


# Folding


def _folded(pairs: list[tuple[LineEvent, Line]], sizes: Sizes, parameters: Parameters) -> list[Line]:
    """Merge the identical executions of a line, in the order in which they first ran."""
    groups: dict[Any, list[tuple[LineEvent, Line]]] = {}
    previous: Any = None
    run = 0
    for event, line in pairs:
        key = _likeness(event, line)
        if event.statement is None:  # items of a container fold only with their neighbours
            run += key != previous
            previous, key = key, (run, *key)
        groups.setdefault(key, []).append((event, line))
    return [_merged(group, sizes, parameters) for group in groups.values()]


def _likeness(event: LineEvent, line: Line) -> tuple[Any, ...]:
    if line.kind == "control":
        return (id(event.statement),)
    place = id(event.statement) if event.statement else line.code.partition(": ")[2]
    values = tuple((value.shape, value.dtype, value.layout, value.memory) for value in line.values)
    ops = tuple((op.name, op.results) for op in line.ops)
    return place, values, ops, line.autocast, line.verdict, line.failed, line.warnings


def _merged(group: list[tuple[LineEvent, Line]], sizes: Sizes, parameters: Parameters) -> Line:
    line = group[0][1]
    events = [event for event, _ in group]
    line.count = 1 if line.kind == "control" else len(group)
    if line.kind == "module" and len(group) > 1:
        first, _, rest = line.code.partition("):")
        last = group[-1][1].code.partition("):")[0].strip("(")
        line.code = f"{first}..{last}):{rest}"
    facts: Counter[str] = Counter()
    for event in events:
        facts.update(event.facts)
    line.facts = tuple(fact if count == 1 else f"{fact} x{count}" for fact, count in facts.items())
    used = set[int]().union(*(event.parameters for event in events))
    line.parameters = sum(parameters[key].numel() for key in used)
    line.trainable = sum(parameters[key].numel() for key in used if parameters[key].requires_grad)
    line.macs = amount((event.macs for event in events), sizes)
    line.allocated = amount((event.allocated for event in events), sizes, unit="B")
    line.saved = amount((event.saved for event in events), sizes, unit="B")
    return line
