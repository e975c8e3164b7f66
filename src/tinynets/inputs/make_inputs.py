"""Make the tensors of a call from tensors, strings or the annotations of `forward`: the sizes assumed (32,
but 2 for a real batch), values, dtype and device, which axes are symbols, and the errors.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import AnnotationError
from torch import nn

from .._contract.annotations.axes import Axis, AxisKind
from .._contract.annotations.class_scope import declared_axes
from .._contract.annotations.parse_hints import has_tensors, parse_hint
from .._contract.annotations.specs import ArraySpec, Spec, UnionSpec, accepted_dtypes
from .._contract.contract import builder_of, contract_of
from .._torch.tracing.layouts import empty_like_strides
from .._torch.tracing.pytree import tree_map_only
from ..errors import InputError
from .axis_strings import aligned_axes, evaluate, parse_axes
from .symbolic_sizes import Sizes


class _Shape(str):
    """A shape from the contract: only its leading axis is a symbol, since more symbols slow down a trace."""


_BATCH, _REAL_BATCH, _OTHER = 32, 2, 32
_STRING = re.compile(r"\s*(?:(?P<dtype>\w+)\s*\[(?P<inside>[^\]]*)\]|(?P<plain>[^\[\]]*))\s*")


@dataclass
class Inputs:
    """Makes the inputs of one trace."""

    model: nn.Module
    sizes: Sizes  # creates the axes
    real: bool  # whether the inputs must hold values

    def make(
        self, given: tuple[Any, ...], named: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and keyword arguments for the call."""
        specs = argument_specs(self.model)
        parameters = parameters_of(self.model)
        positional: list[Any] = []
        if not given and not named:
            given = tuple(self._from_contract(specs, parameters))
        for index, value in enumerate(given):
            spec = specs.get(parameters[min(index, len(parameters) - 1)].name) if parameters else None
            positional.append(self._input(value, spec))
        return tuple(positional), {name: self._input(value, specs.get(name)) for name, value in named.items()}

    def _from_contract(
        self, specs: Mapping[str, ArraySpec], parameters: list[inspect.Parameter]
    ) -> list[str]:
        strings: list[str] = []
        for parameter in parameters:
            if parameter.default is not inspect.Parameter.empty:
                break
            spec = specs.get(parameter.name)
            if spec is None or spec.axes.many_index is not None:
                kind = type(self.model).__name__
                raise InputError(
                    f"{kind}.forward does not say what shape {parameter.name!r} has:"
                    ' pass a tensor or a shape, as in explain(model, "batch 3 32 32")'
                )
            strings.append(_Shape(spec.axes.text))
        return strings

    def _input(self, value: Any, spec: ArraySpec | None) -> Any:
        if isinstance(value, str):
            return self._from_string(value, spec, named=not isinstance(value, _Shape))
        if isinstance(value, torch.Tensor):
            return self._from_tensor(value, spec)
        return tree_map_only(torch.Tensor, lambda tensor: self._from_tensor(tensor, None), value)

    def _from_string(self, text: str, spec: ArraySpec | None, *, named: bool) -> torch.Tensor:
        found = _STRING.fullmatch(text)
        axes = parse_axes((found["inside"] or found["plain"] or "") if found else "?")
        if found is None or axes is None or axes.many_index is not None:
            raise InputError(f'{text!r} is not a shape: write it as "batch 3 32 32" or "int64[batch 77]"')
        shape = [self._size(axis, index == 0, named=named) for index, axis in enumerate(axes.axes)]
        for axis, size in zip(axes.axes, shape, strict=True):
            if isinstance(size, int) and size < 0:
                raise InputError(f"axis {axis.text!r} is negative")
        dtype: Any = getattr(torch, found["dtype"], None) if found["dtype"] else self._dtype(spec)
        if not isinstance(dtype, torch.dtype):
            raise InputError(f"{found['dtype']!r} is not a dtype of torch: write it as float32, int64, bool")
        first = next(iter([*self.model.parameters(), *self.model.buffers()]), None)
        device = torch.device("cpu") if first is None or first.is_meta else first.device
        if not self.real:
            return torch.empty(shape, dtype=dtype, device=device)
        if dtype.is_floating_point or dtype.is_complex:
            return torch.randn(shape, dtype=dtype, device=device)
        return torch.zeros(shape, dtype=dtype, device=device)  # the only index valid in every embedding

    def _size(self, axis: Axis, leading: bool, *, named: bool) -> Any:
        if axis.kind is AxisKind.FIXED:
            name, _, number = axis.text.partition("=")
            if named and number and name.isidentifier() and number.isdigit():
                return self.sizes.make(name, int(number), leading=leading, symbolic=True)
            return axis.size
        if axis.kind is AxisKind.EXPRESSION:
            known: dict[str, Any] = {**self.sizes.values, **declared_axes(self.model), "self": self.model}
            size = evaluate(axis, known)
            if not isinstance(size, int):
                raise InputError(f"the size of axis {axis.text!r} is not known: pass a tensor or a number")
            return size
        name = axis.name if axis.kind is AxisKind.NAMED else "batch" if leading else axis.text
        own = declared_axes(self.model).get(name)
        if own is not None:
            return own
        default = (_REAL_BATCH if self.real else _BATCH) if leading else _OTHER
        if name not in self.sizes.values:
            self.sizes.chosen.append(name)
        return self.sizes.make(name, default, leading=leading, symbolic=named or leading)

    def _from_tensor(self, tensor: torch.Tensor, spec: ArraySpec | None) -> torch.Tensor:
        shape: list[Any] = []
        axes = (aligned_axes(spec.axes, tensor.ndim) if spec else None) or [None] * tensor.ndim
        own = declared_axes(self.model)
        for index, (axis, size) in enumerate(zip(axes, tensor.shape, strict=True)):
            name = axis.name if axis is not None and axis.kind is AxisKind.NAMED else ""
            if axis is None and index == 0 and self.sizes.values.get("batch", size) == size:
                name = "batch"
            usable = name and name not in own and self.sizes.values.get(name, size) == size
            leading = index == 0
            shape.append(
                self.sizes.make(name, int(size), leading=leading, symbolic=leading) if usable else size
            )
        if self.real:
            return tensor.detach().clone().requires_grad_(tensor.requires_grad)
        return empty_like_strides(shape, tensor).requires_grad_(tensor.requires_grad)

    def _dtype(self, spec: ArraySpec | None) -> torch.dtype:
        natural = float_dtype(self.model)
        allowed = accepted_dtypes(spec.family) if spec else frozenset((natural,))
        for dtype in (natural, torch.float32, torch.int64, torch.bool):
            if dtype in allowed:
                return dtype
        return next(iter(sorted(allowed, key=str)), natural)


def float_dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of the model's float parameters, or the default dtype if there are none."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())


def parameters_of(model: nn.Module) -> list[inspect.Parameter]:
    """Return the parameters of `forward` that accept positional arguments."""
    try:
        found = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]


def forward_specs(model: nn.Module) -> dict[str, Spec]:
    """Return the specs of the arguments of `forward` by name, and of its result as `"return"`."""
    record = contract_of(getattr(type(model), "forward", None))  # scripted modules have it on the instance
    if record is not None:
        specs: dict[str, Spec] = {s.name: s.spec for s in record.sites if s.kind == "argument"}
        # The return has no site if the line before it has checked the same value.
        builder = builder_of(type(model).forward)
        hints = builder.specs.hints if builder else {}
        return {**specs, "return": parse_hint(hints["return"])} if "return" in hints else specs
    try:
        hints = typing.get_type_hints(type(model).forward, include_extras=True)
        return {name: parse_hint(hint) for name, hint in hints.items() if has_tensors(hint)}
    except (AnnotationError, NameError, TypeError, SyntaxError, AttributeError):
        return {}


def argument_specs(model: nn.Module) -> dict[str, ArraySpec]:
    """Return the array specs of the arguments of `forward`, by name."""
    arrays = {name: _array(spec) for name, spec in forward_specs(model).items() if name != "return"}
    return {name: spec for name, spec in arrays.items() if spec is not None}


def _array(spec: Spec) -> ArraySpec | None:
    if isinstance(spec, UnionSpec):
        return next((array for arm in spec.arms if (array := _array(arm)) is not None), None)
    return spec if isinstance(spec, ArraySpec) else None
