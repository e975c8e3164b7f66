"""Programs of `torch.export` for `optimize_for_inference`: which axes are free, and what their graphs say
about weights, mutated buffers, conditions on sizes, and the module of an operation.
"""

# What torch.export returns has no complete types.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false, reportMissingTypeStubs=false
from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from .pytree import tree_map
from .shape_environment import expression_of, one_program_for_all_sizes

_tracing = threading.Lock()  # tracing changes process-wide settings of torch


def export_program(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    any_size: bool,
    batch_axes: Sequence[int | None] | None = None,
) -> ExportedProgram:
    """Export a model for the sizes of its arguments, or with every axis longer than 1 free.

    Torch specialises the sizes 0 and 1: a program for any size does not accept them, unless only the batch is
    free, given as an axis of each tensor.
    """
    if batch_axes is not None:  # with oneDNN, torch would add conditions on the batch
        axes = iter(batch_axes)
        free = _for_each_tensor(lambda _: _free_axis(next(axes)), args, kwargs)
        with _tracing, one_program_for_all_sizes():
            return torch.export.export(_Call(model), (args, kwargs), dynamic_shapes=free)
    free = _for_each_tensor(_free_axes, args, kwargs) if any_size else None
    with _tracing, _backends_untouched():
        return torch.export.export(_Call(model), (args, kwargs), dynamic_shapes=free)


def program_of_tensors(
    program: ExportedProgram, taken: Sequence[str], like: Sequence[Tensor]
) -> ExportedProgram:
    """Export a program again, as a function of a list of tensors that includes its weights.

    No axis of the program is free but the batch; each tensor is like those for a placeholder that is taken.
    """
    placeholders: list[Any] = [node for node in program.graph.nodes if node.op == "placeholder"]
    shapes: dict[str, Any] = {node.name: getattr(node.meta.get("val"), "shape", ()) for node in placeholders}
    free = [
        {axis: Dim.AUTO for axis, size in enumerate(shapes[name]) if not isinstance(size, int)}
        for name in taken
    ]
    graph = torch.fx.GraphModule(nn.Module(), program.graph)
    flat = _OfTensors(graph, [node.name for node in placeholders], taken)
    with _tracing, one_program_for_all_sizes(), torch.no_grad():
        return torch.export.export(flat, ([*like],), dynamic_shapes=(free,))


class _OfTensors(nn.Module):
    def __init__(self, graph: nn.Module, placeholders: list[str], taken: Sequence[str]) -> None:
        super().__init__()
        self.graph, self.placeholders, self.taken = graph, placeholders, taken

    def forward(self, tensors: list[Tensor]) -> Any:
        """Run the graph; placeholders that it does not read are None."""
        given = dict(zip(self.taken, tensors, strict=True))
        return self.graph(*map(given.get, self.placeholders))


class _Call(nn.Module):
    """Calls a model. With the model's own signature, the form of `dynamic_shapes` would depend on it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, args: Any, kwargs: Any) -> Any:
        """Call the model."""
        return self.model(*args, **kwargs)


def _for_each_tensor(function: Callable[[Tensor], Any], args: Any, kwargs: Any) -> dict[str, Any]:
    def free(value: object) -> Any:
        return function(value) if isinstance(value, Tensor) else None

    return {"args": tree_map(free, args), "kwargs": tree_map(free, kwargs)}


def _free_axes(tensor: Tensor) -> dict[int, Any]:
    return {axis: Dim.AUTO for axis, size in enumerate(tensor.shape) if size > 1}


def _free_axis(axis: int | None) -> dict[int, Any]:
    return {} if axis is None else {axis: Dim.AUTO}


@contextmanager
def _backends_untouched() -> Generator[None]:
    """Keep torch from switching oneDNN and cuDNN off for the whole process while it traces.

    Other threads would compute different bits, and the graph would tell BatchNorm not to use cuDNN. If torch
    renames the switch, only these effects return, and the test of threads fails.
    """
    import torch.export._trace as home

    switch = getattr(home, "_ignore_backend_decomps", None)
    if switch is None or switch is nullcontext:
        yield
        return
    home._ignore_backend_decomps = nullcontext
    try:
        yield
    finally:
        home._ignore_backend_decomps = switch


def weight_names(program: ExportedProgram) -> dict[str, str]:
    """Return, for each placeholder of a parameter or buffer, its path in the model."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    return {placeholder: name.removeprefix("model.") for placeholder, name in names.items()}


def constant_tensors(program: ExportedProgram) -> dict[str, Tensor]:
    """Return the constant tensors that the graph reads, by their placeholders."""
    constants = program.graph_signature.inputs_to_lifted_tensor_constants
    return {placeholder: cast(Tensor, program.constants[name]) for placeholder, name in constants.items()}


def mutated_buffers(program: ExportedProgram) -> list[str]:
    """Return the buffers that the model assigns when it is called."""
    return [name.removeprefix("model.") for name in program.graph_signature.buffers_to_mutate.values()]


def size_of(size: Any) -> int | str:
    """Return a traced size: a number, the name of a symbol, or another expression as Python source."""
    from torch.utils._sympy.printers import PythonPrinter

    expression = expression_of(size)
    if isinstance(expression, int):
        return expression
    return int(expression) if expression.is_Integer else PythonPrinter().doprint(expression)


def conditions(program: ExportedProgram, symbols: frozenset[str]) -> list[str]:
    """Return the conditions on sizes under which the graph is valid, as Python source over their symbols.

    Raises:
        ValueError: a condition depends on something else, such as the values of a tensor.
    """
    import sympy
    from torch.utils._sympy.printers import PythonPrinter

    values = (node.meta.get("val") for node in program.graph.nodes)
    environment: Any = next((v.fake_mode.shape_env for v in values if hasattr(v, "fake_mode")), None)
    found: dict[str, None] = {}
    if environment is None:
        return []
    for guard in environment.guards:
        expression = guard.expr.xreplace(environment.replacements)
        if expression == sympy.true:
            continue
        if not {str(symbol) for symbol in expression.free_symbols} <= symbols:
            raise ValueError(f"it depends on values of tensors: {expression}")
        found[PythonPrinter().doprint(expression)] = None
    for symbol, limits in program.range_constraints.items():
        if str(symbol) in symbols:
            found[f"{symbol} >= {int(limits.lower)}"] = None
            if getattr(limits.upper, "is_Integer", False):
                found[f"{symbol} <= {int(limits.upper)}"] = None
    return list(found)


def module_path(node: Any) -> str:
    """Return the path of the module whose forward calls an operator."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]).removeprefix("model").removeprefix(".") if stack else ""
