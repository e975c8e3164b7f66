"""What an explanation is made of: frames hold lines, and a line holds the frames that it called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["=", "≠", ""]
LineKind = Literal["assign", "return", "statement", "control", "module"]


@dataclass(frozen=True)
class Amount:
    """A number that may grow with the axes: `formula` says how, `value` is what it comes to.

    `value` is None where the number depends on what the tensors hold. `expression` is the formula again, in
    Python's own operators and without units: `2048*batch`.
    """

    formula: str = "0"
    value: int | None = 0
    expression: str = "0"


@dataclass(frozen=True)
class TensorFacts:
    """What is known of one tensor.

    Attributes:
        label: how it hangs together with what the line made: `""` for the value itself, or `[0]`, `['mask']`.
        shape: one text for each axis: its name, an expression over names, or a number.
        sizes: the same as numbers; None where a size depends on values.
        expressions: the same in terms of the free axes alone: `batch`, `784`, `(tokens+3)//4`.
        dtype: such as `float32`.
        device: such as `cpu`.
        layout: `contiguous`, `channels_last`, `channels_last_3d`, `strided` for other strides, or the name
            of a sparse layout.
        memory: `new`, or `view` of memory that was there before, `in place`, or `same` for the tensor itself.
    """

    label: str
    shape: tuple[str, ...]
    sizes: tuple[int | None, ...]
    expressions: tuple[str, ...]
    dtype: str
    device: str
    layout: str = "contiguous"
    memory: str = "new"


@dataclass(frozen=True)
class Op:
    """One call that a line makes itself: of a module, a function or an operator.

    Attributes:
        name: the function's name, or the class of the module.
        module: path of the module from the explained model, or `""` for a function.
        results: what it returned.
    """

    name: str
    module: str
    results: tuple[TensorFacts, ...]


@dataclass
class Line:
    """One source line of a forward pass that was run, with everything that it did, calls included.

    Attributes:
        file: the file that it stands in; `""` for the item of a container.
        line: its first line number; 0 for the item of a container.
        code: its source, on one line.
        indent: how many blocks of its function it stands in.
        kind: what kind of statement it is; `module` is an item that a container such as Sequential called.
        names: the names it assigns.
        values: the tensors it made or returned.
        declared: the shape that its annotation or trailing comment declares, or `""`.
        declared_by: `annotation`, `comment`, or `""`.
        verdict: whether the declaration holds: `=`, `≠`, or `""` where nothing is declared.
        ops: what it called, in order.
        allocated: bytes of new memory, temporaries included.
        saved: bytes kept for the backward pass that no earlier line keeps already.
        parameters: how many parameters it uses.
        macs: multiply-accumulate operations: half of what `torch.utils.flop_counter` counts.
        facts: what depends on the mode, such as `dropout p=0.1 ACTIVE`.
        autocast: what `torch.autocast` does there, such as `cpu bfloat16`, or `""`.
        warnings: what is probably not meant, such as accidental broadcasting.
        operands: the tensors and modules that a failing line names.
        count: how many times it ran alike.
        frames: the user's own functions and modules that it called.
        failed: whether the forward pass ended here with an error.
        differs: whether another mode gives other facts.
    """

    file: str
    line: int
    code: str
    kind: LineKind
    indent: int = 0
    names: tuple[str, ...] = ()
    values: tuple[TensorFacts, ...] = ()
    declared: str = ""
    declared_by: str = ""
    verdict: Verdict = ""
    ops: tuple[Op, ...] = ()
    allocated: Amount = Amount()
    saved: Amount = Amount()
    parameters: int = 0
    macs: Amount = Amount()
    facts: tuple[str, ...] = ()
    autocast: str = ""
    warnings: tuple[str, ...] = ()
    operands: tuple[tuple[str, str], ...] = ()
    count: int = 1
    frames: tuple[Frame, ...] = ()
    failed: bool = False
    differs: bool = False


@dataclass
class Frame:
    """One call of a function of the model.

    Attributes:
        path: the module it belongs to, from the explained model; `""` for the model itself.
        module: class of that module.
        function: name of the function.
        file: where it stands.
        line: where it starts.
        arguments: its tensor arguments; their labels are their names.
        lines: what it ran.
    """

    path: str
    module: str
    function: str
    file: str
    line: int
    arguments: tuple[TensorFacts, ...] = ()
    lines: list[Line] = field(default_factory=list[Line])

    def walk(self, depth: int | None = None) -> Iterator[tuple[int, Frame, Line]]:
        """Yield every line with its level and frame; a module's lines are one level below its call.

        Args:
            depth: how many levels of modules to enter, the model itself being the first; None for all.
                A method that a module calls on itself is on the module's own level.
        """
        yield from self._walk(depth, 0, 1)

    def _walk(self, depth: int | None, level: int, modules: int) -> Iterator[tuple[int, Frame, Line]]:
        for line in self.lines:
            yield level, self, line
            for frame in line.frames:
                inner = modules + (frame.path != self.path)
                if depth is None or inner <= depth:
                    yield from frame._walk(depth, level + 1, inner)


@dataclass
class Run:
    """The forward pass in one mode.

    Attributes:
        mode: `train`, `eval`, or `as is`.
        frame: the model's own forward.
        axes: axis name -> size, where the size was given or chosen.
        free: the axes that may have any other size as well; all formulas are in terms of them.
        method: `symbolic` (fake tensors, named sizes), `fixed` (fake tensors, numbers only) or `real`.
        reason: why it is not symbolic, if it is not.
        notes: what else a reader should know.
        training: how many modules are in training mode, of how many.
        grad: `grad on`, `grad off` or `inference`.
        autocast: what `torch.autocast` does around the call, such as `cpu bfloat16`, or `""`.
        parameters: of the whole model, each counted once.
        unused: names of parameters that the pass did not use.
        macs: multiply-accumulate operations of the pass.
        allocated: bytes of new memory.
        saved: bytes kept for the backward pass.
        error: what ended the pass, or `""`.
        tied: axes that were meant to be free and that the model, or a kernel of torch, ties to one size.
    """

    mode: str
    frame: Frame
    axes: dict[str, int]
    free: tuple[str, ...]
    method: str
    reason: str
    notes: tuple[str, ...]
    training: tuple[int, int]
    grad: str
    parameters: int
    unused: tuple[str, ...]
    macs: Amount
    allocated: Amount
    saved: Amount
    autocast: str = ""
    error: str = ""
    tied: tuple[str, ...] = ()
