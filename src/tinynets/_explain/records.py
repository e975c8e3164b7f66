"""The fields of `Run`, `Frame`, `Line`, `Op` (such as `kernel_size`), `TensorFacts` and `Amount`, the data of
an explanation and the keys of its JSON; add a new fact here first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # proofs import sympy, which `import tinynets` avoids
    from .._prove.proof import Proof

Verdict = Literal["=", "≠", ""]
LineKind = Literal["assign", "return", "statement", "control", "module"]


@dataclass(frozen=True)
class Amount:
    """A number that may grow with the axes: `formula` says how, and `value` is its current value.

    `value` is None if the number depends on the values of tensors. `expression` is the formula in Python
    syntax, without units: `2048*batch`.
    """

    formula: str = "0"
    value: int | None = 0
    expression: str = "0"


@dataclass(frozen=True)
class TensorFacts:
    """Facts about one tensor.

    Attributes:
        label: its place in the result of the line: `""` for the result itself, or `[0]`, `['mask']`.
        shape: one text per axis: a name, an expression over names, or a number.
        sizes: the same as numbers; None if a size depends on values.
        expressions: the same in terms of the free axes alone: `batch`, `784`, `(tokens+3)//4`.
        dtype: such as `float32`.
        device: such as `cpu`.
        layout: `contiguous`, `channels_last`, `channels_last_3d`, `strided` for other strides, or the name
            of a sparse layout.
        memory: `new`, `view` of existing memory, `in place`, or `same` for an existing tensor.
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
    """One call of a module, function or operator that a line makes directly.

    Attributes:
        name: the function's name, or the class of the module.
        module: path of the module from the explained model, or `""` for a function.
        results: what it returned.
        inputs: the tensor arguments of a module; their labels are the argument names.
        kernel_size: of a convolution or a pooling, such as `(3, 3)`.
    """

    name: str
    module: str
    results: tuple[TensorFacts, ...]
    inputs: tuple[TensorFacts, ...] = ()
    kernel_size: tuple[int, ...] = ()


@dataclass
class Line:
    """One source line of a forward pass, with everything it did, calls included.

    Attributes:
        file: its source file; `""` for the item of a container.
        line: its first line number; 0 for the item of a container.
        code: its source, on one line.
        indent: depth of nested blocks in its function.
        kind: the kind of statement; `module` is an item that a container such as Sequential called.
        names: the names it assigns.
        values: the tensors it made or returned.
        declared: the shape that its annotation or trailing comment declares, or `""`.
        declared_by: `annotation`, `comment`, or `""`.
        verdict: whether the declaration holds: `=`, `≠`, or `""` if nothing is declared.
        ops: what it called, in order.
        allocated: bytes of new memory, temporaries included.
        saved: bytes saved for the backward pass, without those that an earlier line saved.
        parameters: number of parameters that it uses.
        trainable: how many of them require a gradient.
        parameter_percent: of the parameters of the model.
        macs: multiply-accumulate operations: half of what `torch.utils.flop_counter` counts.
        mac_percent: of the multiply-accumulate operations of the pass.
        facts: what depends on the mode, such as `dropout 0.1 ON`.
        autocast: the active `torch.autocast`, such as `cpu bfloat16`, or `""`.
        warnings: probable mistakes, such as accidental broadcasting.
        operands: the tensors and modules that a failing line names.
        count: how often it ran with the same facts.
        frames: the user's functions and modules that it called.
        failed: whether the forward pass raised here.
        differs: whether the facts differ in another mode.
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
    trainable: int = 0
    parameter_percent: float = 0.0
    macs: Amount = Amount()
    mac_percent: float = 0.0
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
        module: the class of that module.
        function: name of the function.
        file: its source file.
        line: its first line.
        arguments: its tensor arguments; their labels are their names.
        lines: the lines that ran.
    """

    path: str
    module: str
    function: str
    file: str
    line: int
    arguments: tuple[TensorFacts, ...] = ()
    lines: list[Line] = field(default_factory=list[Line])

    def walk(self, depth: int | None = None) -> Iterator[tuple[int, Frame, Line]]:
        """Yield `(level, frame, line)` of every line; the lines of a module are one level below its call.

        Args:
            depth: number of levels of modules to enter, the model itself being the first; None for all.
                A method that a module calls on itself is on the level of the module.
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
        axes: axis name -> size, given or assumed.
        assumed: the axes whose size was not given.
        free: the axes that may have any size; all formulas are in terms of them.
        method: `symbolic` (fake tensors, named sizes), `fixed` (fake tensors, numbers only) or `real`.
        reason: why it is not symbolic, if it is not.
        notes: anything else that a reader should know.
        training: number of modules in training mode, and of all modules.
        grad: `grad on`, `grad off` or `inference`.
        autocast: the `torch.autocast` around the call, such as `cpu bfloat16`, or `""`.
        parameters: number of parameters of the whole model, each counted once.
        trainable: how many of them require a gradient.
        parameter_bytes: bytes of all parameters.
        unused: names of parameters that the pass did not use.
        macs: multiply-accumulate operations of the pass.
        allocated: bytes of new memory.
        saved: bytes kept for the backward pass.
        error: the error that ended the pass, or `""`.
        tied: axes that should be free but that the model, or a kernel of torch, ties to one size.
        proof: what the trace proves about the annotated lines; None if there are none, or no size is free.
    """

    mode: str
    frame: Frame
    axes: dict[str, int]
    assumed: tuple[str, ...]
    free: tuple[str, ...]
    method: str
    reason: str
    notes: tuple[str, ...]
    training: tuple[int, int]
    grad: str
    parameters: int
    trainable: int
    parameter_bytes: int
    unused: tuple[str, ...]
    macs: Amount
    allocated: Amount
    saved: Amount
    autocast: str = ""
    error: str = ""
    tied: tuple[str, ...] = ()
    proof: Proof | None = None
