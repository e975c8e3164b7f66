"""Export a model to a program of torch with its contract: eval mode, which axes stay free, the names of
inputs and outputs (`output`, `output_0`; ONNX too), paths removed, and what cannot be exported.
"""

# The types of torch.export are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from .._contract.annotations.axes import Axis, AxisKind, parse_axis_string
from .._contract.annotations.class_scope import declared_axes
from .._contract.annotations.specs import ArraySpec, FieldsSpec, Spec, TupleSpec
from .._torch.tracing.fake_tensors import silent_fakes
from .._torch.tracing.shape_environment import one_program_for_all_sizes
from .._version import __version__
from ..checkpoint import config_of
from ..errors import CheckpointError
from ..inputs.axis_strings import parse_shape
from ..inputs.make_inputs import Inputs, argument_specs, forward_specs, parameters_of
from ..inputs.symbolic_sizes import Sizes
from ..modes import evaluating
from .exported_contract import Signature, TensorSpec, is_arithmetic

Row = tuple[Axis, ...]


@dataclass(frozen=True)
class Program:
    """An exported program of torch, and its contract."""

    exported: ExportedProgram
    signature: Signature
    symbols: Mapping[str, str]  # name of a free axis in torch -> name in the contract


def program_of(model: nn.Module, given: tuple[Any, ...]) -> Program:
    """Export a model in eval mode, with every named axis of its contract free.

    Raises:
        TypeError: the shapes of the inputs are unknown, or `forward` returns a user-defined class.
        ValueError: torch can export the model only with one size for an axis that should be free.
        Exception: any error of the model for these inputs.
    """
    returned = forward_specs(model).get("return")
    if isinstance(returned, FieldsSpec) and not returned.by_key:
        raise TypeError(
            f"{_name(model)}.forward returns {returned.container.__name__}, a class that a process without "
            "your code does not know: return a tuple or a dict"
        )
    names = [parameter.name for parameter in parameters_of(model)]
    with torch.random.fork_rng(devices=[]):  # the values of the inputs are random, and do not matter
        values, _ = Inputs(model, Sizes(symbolic=False), real=True).make(given, {})
    if len(values) > len(names) or not all(isinstance(value, torch.Tensor) for value in values):
        raise TypeError(f"export() takes one tensor or shape for each argument of {_name(model)}.forward")
    sizes = declared_axes(model)
    rows: list[Row] = []
    for name, value, text in zip(names, values, given or [None] * len(values), strict=False):
        row, fixed = _axes_of(model, name, value, text)
        rows.append(row)
        sizes.update(fixed)
    free = [{i: Dim.AUTO for i, axis in enumerate(row) if not _is_one_size(axis, sizes)} for row in rows]
    with evaluating(model), torch.no_grad(), one_program_for_all_sizes(), silent_fakes():
        try:
            exported = torch.export.export(model, values, dynamic_shapes=tuple(free))
        except Exception:
            _raise_refusal(model, values)
            raise
    _forget_places(exported)
    taken = [_meta(exported, name) for name in exported.graph_signature.user_inputs]
    symbols = _symbols(model, zip(names, rows, taken, values, free, strict=False))
    inputs = [
        _tensor(name, row, tensor, frozenset(sizes) | frozenset(symbols.values()), symbols)
        for name, row, tensor in zip(names, rows, taken, strict=False)
    ]
    outputs = _outputs(returned, exported, sizes, symbols)
    used = {name for tensor in (*inputs, *outputs) for axis in tensor.spec.axes.axes for name in _names(axis)}
    signature = Signature(
        class_name=type(model).__name__,
        config=_config(model),
        normalization=getattr(model, "normalization", None),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        sizes={name: size for name, size in sorted(sizes.items()) if name in used},
        ranges=_ranges(exported, symbols),
        library_version=__version__,
    )
    return Program(exported, signature, symbols)


def _raise_refusal(model: nn.Module, values: tuple[Any, ...]) -> None:
    """Call a model that could not be exported: its own error for bad inputs has the actual sizes."""
    try:
        model(*values)
    except Exception as error:
        raise error from None


def _forget_places(exported: ExportedProgram) -> None:
    """Drop the stack traces that torch stores: they contain paths of the exporting machine."""
    for module in exported.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)


def _axes_of(model: nn.Module, name: str, value: torch.Tensor, text: Any) -> tuple[Row, dict[str, int]]:
    """Return the axes of a tensor, and the sizes of named ones that were given as numbers."""
    spec = argument_specs(model).get(name)
    declared = spec.axes.axes if spec is not None and spec.axes.many_index is None else None
    written = None
    if isinstance(text, str):
        parsed = parse_shape(text)
        written = parsed.axes if parsed is not None else None
    if written is None and declared is None:
        example = " ".join(["batch", *map(str, value.shape[1:])])
        raise TypeError(
            f"{_name(model)}.forward does not name the axes of {name!r}: "
            f'pass a shape that does, as in export(model, path, "{example}")'
        )
    if declared is None:
        # `tokens=77` is an axis name with the size to trace.
        return tuple(parse_axis_string(axis.text.partition("=")[0]).axes[0] for axis in written or ()), {}
    numbers = {
        axis.name: other.size
        for axis, other in zip(declared, written or (), strict=False)
        if axis.kind is AxisKind.NAMED and other.text.isdigit()
    }
    return declared, numbers


def _is_one_size(axis: Axis, sizes: Mapping[str, int]) -> bool:
    if axis.kind in (AxisKind.NAMED, AxisKind.EXPRESSION):
        return all(name in sizes for name in _names(axis))
    return axis.kind is AxisKind.FIXED


def _names(axis: Axis) -> frozenset[str]:
    return frozenset((axis.name,)) if axis.kind is AxisKind.NAMED else axis.reads


def _meta(exported: ExportedProgram, name: Any) -> torch.Tensor:
    """Return the fake tensor of a name in the program."""
    value = next((node.meta.get("val") for node in exported.graph.nodes if node.name == name), None)
    if not isinstance(value, torch.Tensor):
        raise TypeError("a model that takes or returns anything but tensors cannot be exported")
    return value


def _symbols(
    model: nn.Module, tensors: Iterable[tuple[str, Row, torch.Tensor, torch.Tensor, Iterable[int]]]
) -> dict[str, str]:
    """Match the symbols of torch with the free axes of the contract.

    Of each tensor are given its name, axes, fake tensor, value and free axes.

    Raises:
        ValueError: torch has tied an axis to a number or to another axis.
    """
    symbols: dict[str, str] = {}
    for name, row, tensor, value, free in tensors:
        for index in free:
            axis, found = row[index].text.lstrip("#"), str(tensor.shape[index])
            if not found.isidentifier() or symbols.setdefault(found, axis) != axis:
                texts = [a.text if i < index else str(value.shape[i]) for i, a in enumerate(row)]
                raise ValueError(
                    f"torch can export {_name(model)} only where {axis} of {name!r} is "
                    f"{symbols.get(found, found)}. Give numbers instead of names, as in "
                    f'export(model, path, "{" ".join(texts)}")'
                )
    return symbols


def _tensor(
    name: str, row: Row, tensor: torch.Tensor, known: frozenset[str], symbols: Mapping[str, str]
) -> TensorSpec:
    """Describe a tensor by the axes of the contract, if they can be understood without the model."""
    tokens: list[str] = []
    for axis, size in zip(row, tensor.shape, strict=True):
        understood = axis.kind is not AxisKind.EXPRESSION or (is_arithmetic(axis) and _names(axis) <= known)
        tokens.append(axis.text if understood else _size_text(size, symbols))
    return TensorSpec(name, str(tensor.dtype).removeprefix("torch."), " ".join(tokens))


def _size_text(size: Any, symbols: Mapping[str, str]) -> str:
    return symbols.get(str(size), str(size) if isinstance(size, int) else "_")


def _outputs(
    spec: Spec | None, exported: ExportedProgram, sizes: Mapping[str, int], symbols: Mapping[str, str]
) -> list[TensorSpec]:
    tensors = [_meta(exported, name) for name in exported.graph_signature.user_outputs]
    declared = _declared_outputs(spec, len(tensors))
    known = frozenset(sizes) | frozenset(symbols.values())
    outputs: list[TensorSpec] = []
    for (name, part), tensor in zip(declared, tensors, strict=True):
        if part is not None and part.axes.many_index is None and len(part.axes.axes) == tensor.ndim:
            row = part.axes.axes
        else:
            row = parse_axis_string(" ".join(_size_text(size, symbols) for size in tensor.shape)).axes
        outputs.append(_tensor(name, row, tensor, known, symbols))
    return outputs


def _declared_outputs(spec: Spec | None, count: int) -> list[tuple[str, ArraySpec | None]]:
    """Return the name and the specification of every returned tensor."""
    names = ["output"] if count == 1 else [f"output_{index}" for index in range(count)]
    parts: tuple[Spec, ...] = ()
    match spec:
        case ArraySpec():
            parts = (spec,)
        case TupleSpec():
            parts = spec.items
        case FieldsSpec() if len(spec.fields) == count:
            names = [name for name, _ in spec.fields]
            parts = tuple(part for _, part in spec.fields)
        case _:
            pass
    if len(parts) != count:
        return [(name, None) for name in names]
    return [
        (name, part if isinstance(part, ArraySpec) else None) for name, part in zip(names, parts, strict=True)
    ]


def _ranges(exported: ExportedProgram, symbols: Mapping[str, str]) -> dict[str, tuple[int, int | None]]:
    ranges: dict[str, tuple[int, int | None]] = {}
    for symbol, limits in exported.range_constraints.items():
        name = symbols.get(str(symbol), "")
        if name.isidentifier():
            least, most = ranges.get(name, (0, None))
            upper = int(limits.upper) if getattr(limits.upper, "is_Integer", False) else None
            most = upper if most is None else most if upper is None else min(most, upper)
            ranges[name] = (max(least, int(limits.lower)), most)
    return dict(sorted(ranges.items()))


def _config(model: nn.Module) -> dict[str, Any] | None:
    """Return the constructor's arguments, or None if they are not stored or not plain data."""
    try:
        config = config_of(model)
        json.dumps(config, allow_nan=False)
    except (CheckpointError, TypeError, ValueError):
        return None
    return config


def _name(model: nn.Module) -> str:
    return type(model).__name__
