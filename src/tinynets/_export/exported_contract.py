"""The contract of an exported model as JSON: its fields, format version and checksum, the errors for a newer
or changed one, and the check of each call's inputs, outputs and size limits.

It is narrower than the contract of the model: a program accepts only the dtype that it was exported for, and
an axis that was given as a number has a fixed size.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, make_dataclass
from functools import cached_property
from typing import Any

import jaxtyping
from torch import Tensor

from .._contract.annotations.axes import Axis, AxisKind, parse_axis_string, parse_expression
from .._contract.annotations.specs import ArraySpec, Site
from .._contract.verdict.descriptions import description
from .._contract.verdict.messages import Place, contract_error
from .._contract.verdict.validate import Bindings, known_size, validate
from .._version import __version__
from ..checkpoint import Normalization
from ..errors import CheckpointError, ShapeError, UnsupportedAxesError

FORMAT_VERSION = 1
KEY = "tinynets"  # the metadata key of the text in every format

_ARITHMETIC = (
    *(ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.Constant),
    *(ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.USub),
)
_FAMILIES = {name.lower(): family for name, family in vars(jaxtyping).items() if name[:1].isupper()}


@dataclass(frozen=True)
class TensorSpec:
    """One tensor that a program accepts or returns.

    Attributes:
        name: name of the argument; a result has the name of its field, or `output`.
        dtype: as torch writes it, such as `float32`.
        axes: as jaxtyping writes them, such as `batch 3 32 32`.
    """

    name: str
    dtype: str
    axes: str

    @cached_property
    def spec(self) -> ArraySpec:
        """The specification that a value is checked against."""
        hint = _FAMILIES[self.dtype][Tensor, self.axes]
        return ArraySpec(Tensor, hint.dtypes, parse_axis_string(self.axes), hint)


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of an exported program, and the model that it was exported from.

    Attributes:
        class_name: name of the model's class.
        config: its constructor's arguments; None if they are not stored, or are not plain data.
        normalization: the normalisation of its images, if known.
        inputs: the arguments, in order.
        outputs: the results, in order.
        sizes: axis name -> fixed size.
        ranges: axis name -> smallest and largest size, None for no limit.
        library_version: version of tinynets that exported it.
    """

    class_name: str
    config: dict[str, Any] | None
    normalization: Normalization | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sizes: Mapping[str, int]
    ranges: Mapping[str, tuple[int, int | None]]
    library_version: str

    def to_json(self) -> str:
        """Return the signature as text, with a checksum."""
        fields = asdict(self)
        envelope = {"format_version": FORMAT_VERSION, "sha256": _digest(fields), "contract": fields}
        return json.dumps(envelope, allow_nan=False)

    def check_inputs(self, values: Sequence[Any]) -> Bindings:
        """Check arguments, and return the sizes that they bind.

        Raises:
            ContractError: an argument does not fit.
        """
        bindings = Bindings(dict(self._bound), self._owner, self._owned)
        for tensor, value in zip(self.inputs, values, strict=True):
            self._check("argument", tensor, value, bindings)
            for axis, (least, most) in self.ranges.items():
                size = bindings.sizes.get(axis)
                if size is not None and (size < least or (most is not None and size > most)):
                    raise self._out_of_range(tensor, value, axis, size, least, most)
        return bindings

    def check_outputs(self, values: Sequence[Any], bindings: Bindings) -> None:
        """Check results.

        Raises:
            ContractError: a result does not fit, so the program is not the one that was exported.
        """
        for tensor, value in zip(self.outputs, values, strict=True):
            self._check("return", tensor, value, bindings)

    def fixed_shape(self, tensor: TensorSpec) -> tuple[int | None, ...]:
        """Return the size of each axis of a tensor, None if it is free."""
        bindings = Bindings(dict(self._bound), self._owner, self._owned)
        return tuple(
            known_size(axis, bindings) if _is_known(axis, bindings) else None
            for axis in tensor.spec.axes.axes
        )

    def __str__(self) -> str:
        taken = ", ".join(f"{tensor.name}: {tensor.dtype} [{tensor.axes}]" for tensor in self.inputs)
        given = ", ".join(f"{tensor.dtype} [{tensor.axes}]" for tensor in self.outputs)
        return f"{self.class_name}({taken}) -> {given}"

    def _check(self, kind: str, tensor: TensorSpec, value: Any, bindings: Bindings) -> None:
        before = bindings.copy()
        fault = validate(tensor.spec, value, bindings)
        if fault is not None:
            raise contract_error(fault, Site(kind, tensor.name, tensor.spec), self._place, before) from None

    def _out_of_range(
        self, tensor: TensorSpec, value: Tensor, axis: str, size: int, least: int, most: int | None
    ) -> ShapeError:
        index = next(i for i, token in enumerate(tensor.spec.axes.axes) if token.name == axis)
        limits = f"at least {least}" + ("" if most is None else f" and at most {most}")
        return ShapeError(
            f"{self.class_name}({tensor.name}): axis {index} is {size}, expected {axis} of {limits}\n"
            f"  expected {tensor.dtype} [{tensor.axes}]\n  got      {description(value)}\n"
            "  Outside of it, the layers of the exported program have nothing to work on.",
            where=tensor.name,
            axis=index,
            expected=f"{tensor.dtype} [{tensor.axes}]",
            got=description(value),
            bindings={axis: size},
        )

    # What errors show: sizes that are arguments of the constructor, and other sizes.

    @cached_property
    def _owned(self) -> frozenset[str]:
        return frozenset(self.sizes) & frozenset(self.config or ())

    @cached_property
    def _owner(self) -> Any:
        """A stand-in for the model, with its class name and arguments, for errors."""
        names = sorted(self._owned)
        kind = make_dataclass(self.class_name, [(name, int) for name in names])
        return kind(**{name: self.sizes[name] for name in names})

    @cached_property
    def _bound(self) -> dict[str, int]:
        return {name: size for name, size in self.sizes.items() if name not in self._owned}

    @cached_property
    def _place(self) -> Place:
        origins = dict.fromkeys(self._bound, "the export")
        for tensor in self.inputs:
            for name in tensor.spec.axes.names:
                origins.setdefault(name, tensor.name)
        return Place(self.class_name, "", origins)


def from_json(text: str, source: str) -> Signature:
    """Read what `to_json` wrote.

    Raises:
        CheckpointError: the text was written by a newer version, or changed afterwards.
    """
    damaged = CheckpointError(f"the contract in {source} is damaged, or was changed by hand: export it anew")
    try:
        envelope: dict[str, Any] = dict(json.loads(text))
        version = int(envelope["format_version"])
        fields: dict[str, Any] = dict(envelope["contract"])
        writer = str(fields.get("library_version"))
    except (KeyError, TypeError, ValueError):
        raise damaged from None
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{source} was exported by tinynets {writer} in format {version}; this is {__version__}, "
            f"which reads up to {FORMAT_VERSION}. Upgrade tinynets, or run the file without it"
        )
    if envelope.get("sha256") != _digest(fields):
        raise damaged
    try:
        means = fields.pop("normalization")
        for part in ("inputs", "outputs"):
            fields[part] = tuple(TensorSpec(**tensor) for tensor in fields[part])
        fields["ranges"] = {name: tuple(limits) for name, limits in fields["ranges"].items()}
        signature = Signature(**fields, normalization=means and Normalization(**means))
        tensors = (*signature.inputs, *signature.outputs)
        if not all(is_arithmetic(axis) for tensor in tensors for axis in tensor.spec.axes.axes):
            raise damaged
    except (KeyError, TypeError, ValueError, AttributeError, UnsupportedAxesError):
        raise damaged from None
    return signature


def _digest(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_known(axis: Axis, bindings: Bindings) -> bool:
    """Return whether an axis has one size for all inputs."""
    if axis.kind is not AxisKind.EXPRESSION:
        return not axis.broadcast
    return all(bindings.get(name) is not None for name in axis.reads)


def is_arithmetic(axis: Axis) -> bool:
    """Return whether an axis is a name, a number, or arithmetic over both: a file must not contain code."""
    if axis.kind in (AxisKind.MANY, AxisKind.MANY_ANY):
        return False
    if axis.kind is not AxisKind.EXPRESSION:
        return True
    return "{" not in axis.name and all(
        isinstance(node, _ARITHMETIC) for node in ast.walk(parse_expression(axis.name).tree)
    )
