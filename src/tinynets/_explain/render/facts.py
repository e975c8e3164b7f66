"""What every renderer says about a line and about a run, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..._contract.file_names import file_name
from ..records import Amount, Frame, Line, Run, TensorFacts

_SHORT_DTYPES = {
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


@dataclass(frozen=True)
class Fact:
    """One fact; an amount in it may grow with the axes.

    Attributes:
        before: the text, up to the amount.
        amount: the amount, None if there is only text.
        after: the text after it.
        unit: `B` for bytes, `MACs` for a plain number.
    """

    before: str
    amount: Amount | None = None
    after: str = ""
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.before}{self.amount.formula if self.amount else ''}{self.after}"

    @property
    def active(self) -> bool:
        """Whether the line behaves differently in eval mode."""
        return is_active(self.before)


def is_active(text: str) -> bool:
    """Return whether a text says that a line behaves differently in eval mode."""
    return "ACTIVE" in text or "batch statistics" in text


def code_of(line: Line) -> str:
    """Return the code of a line without its annotation, which the verdict stands for."""
    if line.kind == "assign" and line.declared_by == "annotation" and line.names:
        _, equals, value = line.code.partition(" = ")
        return f"{line.names[0]}{equals}{value}" if equals else line.code
    return line.code


def shapes_of(line: Line) -> str:
    """Write the shapes that a line made: `[batch, 10]`, or several with their names."""
    if len(line.values) == 1:
        return f"[{', '.join(line.values[0].shape)}]"
    return "; ".join(f"{value.label} [{', '.join(value.shape)}]".strip() for value in line.values)


def dtypes_of(values: Iterable[TensorFacts]) -> str:
    """Write the dtypes of tensors, and their memory layouts where these are unusual: `f32 channels_last`."""
    values = list(values)
    dtypes = dict.fromkeys(_SHORT_DTYPES.get(value.dtype, value.dtype) for value in values)
    layouts = dict.fromkeys(value.layout for value in values if value.layout != "contiguous")
    return " ".join([*dtypes, *layouts])


def facts_of(line: Line) -> list[Fact]:
    """Return all facts about a line but its code and shapes."""
    if line.kind == "control":
        return []
    facts: list[Fact] = []
    if line.values:
        facts.append(Fact(dtypes_of(line.values)))
    memory = {value.memory for value in line.values} & {"view", "in place"}
    if line.allocated.value != 0:
        facts.append(Fact("+", line.allocated, unit="B"))
    elif memory:
        facts.append(Fact(" ".join(sorted(memory))))
    if line.parameters:
        facts.append(Fact(f"{line.parameters:,} par"))
    if line.macs.value != 0:
        facts.append(Fact("", line.macs, " MACs", "MACs"))
    facts += map(Fact, line.facts)
    if len(line.ops) > 1 or (line.ops and line.ops[0].module):
        facts.append(Fact(_calls(line)))
    return facts


def _calls(line: Line) -> str:
    """Write what a line called: `fc1 [batch, 256] > relu`."""
    parts = [op.module or op.name for op in line.ops]
    for index, op in enumerate(line.ops[:-1]):
        if len(op.results) == 1:
            parts[index] += f" [{', '.join(op.results[0].shape)}]"
    if len(parts) > 6:
        parts = [*parts[:3], f"{len(parts) - 5} more", *parts[-2:]]
    return " > ".join(parts)


def header(run: Run) -> str:
    """Write the first line: which function, which sizes, which mode."""
    axes = " ".join(f"{name}={size}" for name, size in run.axes.items())
    parts = [f"{run.frame.module}.{run.frame.function}", place_of(run.frame), axes, *conditions(run)]
    return "  ".join(part for part in parts if part)


def place_of(frame: Frame) -> str:
    """Write where a function starts: `mlp.py:55`."""
    return f"{file_name(frame.file)}:{frame.line}"


def conditions(run: Run) -> list[str]:
    """Return the conditions of a run: mode, gradients, autocast, method."""
    on, of = run.training
    mode = "TRAIN" if on == of else "EVAL" if not on else "MIXED"
    autocast = [f"autocast {run.autocast}"] if run.autocast else []
    return [f"{mode} {on}/{of}", run.grad, *autocast, run.method]


def totals(run: Run) -> list[Fact]:
    """Return the totals of a run: parameters, costs, and how many lines declare a shape."""
    rows = [line for _, _, line in run.frame.walk(1) if line.kind in ("assign", "return") and line.values]
    declared = sum(bool(line.declared) for line in rows)
    wrong = sum(line.verdict == "≠" for line in rows)
    return [
        Fact(f"{run.parameters:,} params"),
        Fact("", run.macs, " MACs", "MACs"),
        Fact("", run.allocated, " new", "B"),
        Fact("", run.saved, " saved for backward", "B"),
        Fact(f"lines {declared}/{len(rows)} declared" + (f", {wrong} wrong" if wrong else "")),
    ]


def proof_text(run: Run) -> list[str]:
    """Write for which sizes the annotated lines hold; nothing where the trace cannot tell."""
    return [run.proof.summary] if run.proof is not None and not run.proof.reason else []


def notes(run: Run) -> list[str]:
    """Return what else a reader should know about a run."""
    lines: list[str] = []
    if run.method != "symbolic":
        lines.append(f"{run.method} sizes: {run.reason}" if run.reason else f"{run.method} sizes")
    if run.unused:
        some = ", ".join(run.unused[:4]) + (", ..." if len(run.unused) > 4 else "")
        lines.append(f"{len(run.unused)} parameters not used: {some}")
    lines += proof_text(run)
    return [*lines, *(f"{name} is tied to one size" for name in run.tied), *run.notes]


def footer(run: Run) -> list[str]:
    """Write the last lines: totals, declarations, and what a reader should know."""
    return [" | ".join(map(str, totals(run))), *notes(run)]
