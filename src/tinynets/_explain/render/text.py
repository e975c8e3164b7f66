"""The table for a terminal: the same rows plain, and in colour by rich."""

from __future__ import annotations

import importlib.util
import os
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..records import Amount, Frame, Line, Run, TensorFacts

if TYPE_CHECKING:
    from ..explanation import Explanation

SHORT_DTYPES = {
    "float64": "f64",
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint8": "u8",
    "bool": "bool",
    "complex64": "c64",
    "complex128": "c128",
}
_STYLES = {
    "line": "dim",
    "facts": "dim",
    "warning": "bold red",
    "active": "yellow",
    "head": "bold",
    "ok": "green",
}
AXIS_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_red", "bright_cyan", "bright_magenta")
Segment = tuple[str, str]


def shape_text(line: Line) -> str:
    """Write the shapes that a line made: `[batch, 10]`, or several with their names."""
    if len(line.values) == 1:
        return f"[{', '.join(line.values[0].shape)}]"
    return "; ".join(f"{value.label} [{', '.join(value.shape)}]".strip() for value in line.values)


def op_text(line: Line) -> str:
    """Write what a line called: `fc1 [batch, 256] > relu`."""
    parts: list[str] = []
    for index, op in enumerate(line.ops):
        text = op.module or op.name
        last = index == len(line.ops) - 1
        if not last and len(op.results) == 1:
            text += f" [{', '.join(op.results[0].shape)}]"
        parts.append(text)
    if len(parts) > 6:
        parts = [*parts[:3], f"{len(parts) - 5} more", *parts[-2:]]
    return " > ".join(parts)


def kind_text(values: tuple[TensorFacts, ...]) -> str:
    """Write the dtypes of tensors, and how they lie in memory if not as usual: `f32 channels_last`."""
    dtypes = dict.fromkeys(SHORT_DTYPES.get(value.dtype, value.dtype) for value in values)
    layouts = dict.fromkeys(value.layout for value in values if value.layout != "contiguous")
    return " ".join([*dtypes, *layouts])


def fact_texts(line: Line) -> list[str]:
    """Write everything about a line that is not its code or shape."""
    facts: list[str] = []
    if line.values:
        facts.append(kind_text(line.values))
    memory = {value.memory for value in line.values}
    if _is_some(line.allocated):
        facts.append(f"+{line.allocated.formula}")
    elif memory & {"view", "in place"}:
        facts.append(" ".join(sorted(memory & {"view", "in place"})))
    if line.parameters:
        facts.append(f"{line.parameters:,} par")
    if _is_some(line.macs):
        facts.append(f"{line.macs.formula} MACs")
    facts += line.facts
    if len(line.ops) > 1 or (line.ops and line.ops[0].module):
        facts.append(op_text(line))
    return facts


def header(run: Run) -> str:
    """Write the first line: which function, which sizes, which mode."""
    frame = run.frame
    on, of = run.training
    mode = "TRAIN" if on == of else "EVAL" if not on else "MIXED"
    axes = " ".join(f"{name}={size}" for name, size in run.axes.items())
    place = f"{os.path.basename(frame.file)}:{frame.line}"
    autocast = f"autocast {run.autocast}" if run.autocast else ""
    parts = [
        f"{frame.module}.{frame.function}",
        place,
        axes,
        f"{mode} {on}/{of}",
        run.grad,
        autocast,
        run.method,
    ]
    return "  ".join(part for part in parts if part)


def footer(run: Run) -> list[str]:
    """Write the last lines: totals, declarations, and what a reader should know."""
    rows = [line for _, _, line in run.frame.walk(1) if line.kind in ("assign", "return") and line.values]
    declared = sum(bool(line.declared) for line in rows)
    stale = sum(line.verdict == "≠" for line in rows)
    totals = [
        f"{run.parameters:,} params",
        f"{run.macs.formula} MACs",
        f"{run.allocated.formula} new",
        f"{run.saved.formula} saved for backward",
        f"lines {declared}/{len(rows)} declared" + (f", {stale} wrong" if stale else ""),
    ]
    lines = [" | ".join(totals)]
    if run.method != "symbolic":
        lines.append(f"{run.method} sizes: {run.reason}" if run.reason else f"{run.method} sizes")
    if run.unused:
        some = ", ".join(run.unused[:4]) + (", ..." if len(run.unused) > 4 else "")
        lines.append(f"{len(run.unused)} parameters not used: {some}")
    lines += [f"{name} is tied to one size" for name in run.tied]
    lines += run.notes
    return lines


def rows(run: Run, width: int, depth: int | None) -> Iterator[list[Segment]]:
    """Yield the lines of the table as pieces of text, each with the name of a style."""
    for index, part in enumerate(textwrap.wrap(header(run), width - 1, subsequent_indent="  ")):
        yield [(part, "head" if index == 0 else "facts")]
    for argument in run.frame.arguments:
        yield [
            ("     ", ""),
            (f"{argument.label} ", ""),
            (f"[{', '.join(argument.shape)}]", "shape"),
            (f" {kind_text((argument,))}", "facts"),
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
    code = "  " * (level + line.indent) + without_annotation(line)
    if line.count > 1:
        code += f"  x{line.count}"
    if len(code) > code_width:
        code = code[: code_width - 3] + "..."
    first: list[Segment] = [
        (number + mark, "warning" if line.failed else "line"),
        (f"{code:<{code_width}} ", "code"),
    ]
    shape = shape_text(line)
    sign = {"=": " =", "≠": f" ≠ [{', '.join(line.declared.split())}]", "": ""}[line.verdict]
    facts = "  ".join(fact_texts(line)) if line.kind != "control" else ""
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
        yield [(indent, ""), (part, "active" if "ACTIVE" in part or "batch statistics" in part else "facts")]
    for warning in line.warnings:
        for part in textwrap.wrap("! " + warning, width - len(indent)):
            yield [(indent, ""), (part, "warning")]
    for name, what in line.operands:
        yield [(indent, ""), (f"{name} = {what}"[: width - len(indent)], "facts")]


def without_annotation(line: Line) -> str:
    """Return the code of a line without its annotation, which the verdict stands for."""
    if line.kind == "assign" and line.declared_by == "annotation" and line.names:
        _, equals, value = line.code.partition(" = ")
        return f"{line.names[0]}{equals}{value}" if equals else line.code
    return line.code


def plain(explanation: Explanation, width: int, depth: int | None) -> str:
    """Return the table without colours; the lines of one mode after those of the other."""
    blocks: list[str] = []
    for run in explanation.runs:
        lines = ["".join(text for text, _ in row).rstrip() for row in rows(run, width, depth)]
        blocks.append("\n".join(lines))
    if len(explanation.runs) > 1:
        blocks.append("~ marks the lines that differ between the modes")
    return "\n\n".join(blocks)


def coloured(explanation: Explanation, depth: int | None) -> bool:
    """Print the table by rich, each axis name in a colour of its own; False where rich is not installed."""
    if importlib.util.find_spec("rich") is None:
        return False
    from rich.console import Console
    from rich.text import Text

    console: Any = Console(highlight=False)
    names = {name: AXIS_COLOURS[i % len(AXIS_COLOURS)] for i, name in enumerate(axis_names(explanation))}
    for run in explanation.runs:
        for row in rows(run, max(60, console.width), depth):
            text = Text()
            for part, style in row:
                piece = Text(part, style=_STYLES.get(style, ""))
                for name, colour in names.items() if style == "shape" else ():
                    piece.highlight_regex(rf"\b{name}\b", colour)
                text.append_text(piece)
            console.print(text, soft_wrap=True)
        console.print()
    return True


def axis_names(explanation: Explanation) -> list[str]:
    """Return every axis name that occurs, in the order in which a reader meets them."""
    found: dict[str, None] = {}
    for run in explanation.runs:
        found.update(dict.fromkeys(run.axes))
        for argument in run.frame.arguments:
            found.update(_names(argument.shape))
        for _, frame, line in run.frame.walk():
            for value in (*line.values, *frame.arguments):
                found.update(_names(value.shape))
    return list(found)


def _names(shape: tuple[str, ...]) -> dict[str, None]:
    import re

    return {name: None for axis in shape for name in re.findall(r"[A-Za-z_]\w*", axis) if name != "self"}


def _is_some(amount: Amount) -> bool:
    return amount.value != 0
