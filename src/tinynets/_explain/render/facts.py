"""The texts that terminal, Markdown and HTML share: the first line, shapes, `f32`, the notes of a line
(`declares [...]`, `frozen`, `kernel 3x3`, intermediate shapes), totals, `all 5 shapes declared`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..._contract.file_names import file_name
from ..records import Amount, Frame, Line, Run, TensorFacts
from .short_numbers import decimal_bytes

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
    """One fact; an amount in it may grow with the axes."""

    before: str
    amount: Amount | None = None  # None if there is only text
    after: str = ""
    unit: str = ""  # B for bytes, MACs for a plain number

    def __str__(self) -> str:
        return f"{self.before}{self.amount.formula if self.amount else ''}{self.after}"


def is_active(note: str) -> bool:
    """Return whether a note says that a line behaves differently in eval mode."""
    return " ON" in note or "batch statistics" in note


def code_of(line: Line) -> str:
    """Return the code of a line without its annotation, since the verdict is shown instead."""
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
    dtypes: dict[str, None] = {}
    layouts: dict[str, None] = {}
    for value in values:
        dtypes[_SHORT_DTYPES.get(value.dtype, value.dtype)] = None
        if value.layout != "contiguous":
            layouts[value.layout] = None
    return " ".join([*dtypes, *layouts])


def costs_of(line: Line) -> tuple[Fact, Fact, Fact]:
    """Return the parameters, the multiply-accumulates and the new memory of a line; `""` for none."""
    memory = " ".join(sorted({value.memory for value in line.values} & {"view", "in place"}))
    return (
        Fact(f"{line.parameters:,}" if line.parameters else ""),
        Fact("", line.macs, unit="MACs") if line.macs.value != 0 else Fact(""),
        Fact("", line.allocated, unit="B") if line.allocated.value != 0 else Fact(memory),
    )


def notes_of(line: Line) -> list[str]:
    """Return what a line does besides its code, shape and costs."""
    if line.kind == "control":
        return []
    notes = [f"declares [{', '.join(line.declared.split())}]"] if line.verdict == "≠" else []
    notes += line.facts
    if line.parameters > line.trainable:
        frozen = line.parameters - line.trainable
        notes.append("frozen" if is_frozen(line) else f"{frozen:,} parameters frozen")
    sizes = {value.sizes for value in line.values}
    if any({result.sizes for result in op.results} != sizes for op in line.ops[:-1]):
        notes.append(_calls(line))
    kernels = dict.fromkeys("x".join(map(str, op.kernel_size)) for op in line.ops if op.kernel_size)
    return [*notes, *(f"kernel {kernel}" for kernel in kernels)]


def is_frozen(line: Line) -> bool:
    """Return whether a line uses parameters of which none requires a gradient."""
    return line.parameters > 0 and not line.trainable


def _calls(line: Line) -> str:
    """Write what a line called: `fc1 [batch, 256] > relu`."""
    parts = [op.module or op.name for op in line.ops]
    shape: tuple[int | None, ...] | None = None
    for index, op in enumerate(line.ops[:-1]):
        if len(op.results) == 1 and op.results[0].sizes != shape:
            shape = op.results[0].sizes
            parts[index] += f" [{', '.join(op.results[0].shape)}]"
    if len(parts) > 6:
        parts = [*parts[:3], f"{len(parts) - 5} more", *parts[-2:]]
    return " > ".join(parts)


def header(run: Run) -> list[str]:
    """Write the first line in parts: the call, then mode, sizes and place."""
    arguments = ", ".join(
        f"{argument.label} [{', '.join(argument.shape)}] {dtypes_of([argument])}"
        for argument in run.frame.arguments
    )
    function = "" if run.frame.function == "forward" else f".{run.frame.function}"
    sizes = ", ".join(f"{name} = {size}" + assumed(run, name) for name, size in run.axes.items())
    after = [*conditions(run), *([sizes] if sizes else []), place_of(run.frame)]
    return [f"{run.frame.module}{function}({arguments})", *after]


def assumed(run: Run, axis: str) -> str:
    """Write that the size of an axis was not given, or `""`."""
    return " (assumed)" if axis in run.assumed else ""


def place_of(frame: Frame) -> str:
    """Write where a function starts: `mlp.py:55`."""
    return f"{file_name(frame.file)}:{frame.line}"


def conditions(run: Run) -> list[str]:
    """Return the mode of a run, and what is unusual about it: no gradients, autocast, no symbolic sizes."""
    on, of = run.training
    mode = "train" if on == of else "eval" if not on else f"{on} of {of} modules in train"
    unusual = [run.grad if run.grad != "grad on" else "", run.method if run.method != "symbolic" else ""]
    return [mode, *filter(None, [unusual[0], f"autocast {run.autocast}" if run.autocast else "", unusual[1]])]


def parameters_of(run: Run) -> str:
    """Write the parameters of a model: `203,530 parameters (all trainable, 0.8 MB)`."""
    frozen = run.parameters - run.trainable
    kinds = f"{run.trainable:,} trainable, {frozen:,} frozen"
    if not frozen or not run.trainable:
        kinds = "all frozen" if frozen else "all trainable"
    size = decimal_bytes(run.parameter_bytes)
    return f"{run.parameters:,} parameters" + (f" ({kinds}, {size})" if run.parameters else "")


def totals(run: Run) -> list[Fact]:
    """Return the totals of a run: parameters, costs, and what is known about its shapes."""
    return [
        Fact(parameters_of(run)),
        Fact("", run.macs, " MACs", "MACs"),
        Fact("", run.allocated, " new", "B"),
        Fact("", run.saved, " saved for backward", "B"),
        *map(Fact, claims(run)),
    ]


def claims(run: Run) -> list[str]:
    """Return what is known of the shapes of a run: how many lines declare theirs, and what of it holds."""
    rows = [line for _, _, line in run.frame.walk(1) if line.kind in ("assign", "return") and line.values]
    declared = sum(bool(line.declared) for line in rows)
    wrong = sum(line.verdict == "≠" for line in rows)
    if not declared:
        return []
    proved = [run.proof.summary] if run.proof is not None and run.proof.verdict == "proved" else []
    which = f"all {declared}" if declared == len(rows) else f"{declared} of {len(rows)}"
    return [f"{which} shapes declared" + (f", {wrong} wrong" if wrong else ""), *proved]


def notes(run: Run) -> list[str]:
    """Return what else a reader should know about a run."""
    lines: list[str] = []
    if run.method != "symbolic":
        lines.append(f"{run.method} sizes: {run.reason}" if run.reason else f"{run.method} sizes")
    if run.unused:
        some = ", ".join(run.unused[:4]) + (", ..." if len(run.unused) > 4 else "")
        lines.append(f"{len(run.unused)} parameters not used: {some}")
    return [*lines, *(f"{name} is tied to one size" for name in run.tied), *run.notes]
