"""Validate a value with jaxtyping and beartype, and find exactly what does not match: the item, axis, rank,
size or dtype, and which arm of a union is reported.

Known axis sizes are written into the annotation as numbers before jaxtyping sees it, so its verdict does not
depend on its own memo of axes, on the thread, or on `python -O`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import AnnotationError

from ..annotations.axes import Axis, AxisKind, parse_expression
from ..annotations.plain_types import matches_hint
from ..annotations.specs import (
    Anything,
    ArraySpec,
    FieldsSpec,
    ItemsSpec,
    MappingSpec,
    PlainSpec,
    Spec,
    TupleSpec,
    UnionSpec,
)

Size = Any  # an int, a torch.SymInt, or for `*name` a tuple of them


@dataclass
class Bindings:
    """Sizes of axis names at one place in one call."""

    sizes: dict[str, Size]
    owner: Any = None  # the module or first argument
    module_axes: frozenset[str] = frozenset()
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def copy(self) -> Bindings:
        """Return a copy in which to bind more axes."""
        return replace(self, sizes=dict(self.sizes))

    def get(self, key: str) -> Size | None:
        """Return the size of an axis name, or None."""
        return getattr(self.owner, key) if key in self.module_axes else self.sizes.get(key)

    def evaluate(self, axis: Axis) -> Size:
        """Compute an axis expression.

        Raises:
            AnnotationError: an axis that it reads is not bound yet.
        """
        expression = parse_expression(axis.name)
        names = {name: self.get(name) for name in expression.axis_names}
        for name, size in names.items():
            if size is None:
                raise AnnotationError(
                    f"axis {axis.text!r} is computed from {name!r}, which no tensor has bound at this place"
                )
        code = compile(ast.fix_missing_locations(ast.Expression(expression.tree)), "<axis>", "eval")
        try:
            return eval(code, {**self.arguments, **names})
        except ZeroDivisionError:
            return math.nan  # not equal to any size


@dataclass(frozen=True)
class Mismatch:
    """The innermost value that does not match its spec."""

    path: str  # such as `[3]` or `.logits`, from the checked value
    value: Any
    spec: Spec
    wanted: tuple[Size | None, ...] = ()  # for a tensor: the required size of each axis, None for any
    axis: int | None = None  # the first axis that does not match
    problem: str = "type"  # "type", "rank", "size" or "dtype"
    reason: str = ""  # jaxtyping's text, if we have none
    known: Bindings | None = None  # for a tensor: the axes that were bound before it, inside a container too


def validate(spec: Spec, value: Any, bindings: Bindings, path: str = "") -> Mismatch | None:
    """Validate a value and everything in it, and bind its axes.

    Returns:
        None if it matches. `bindings` then contains the axes that it binds; after a mismatch, perhaps some.
    """
    match spec:
        case Anything():
            return None
        case PlainSpec():
            return None if matches_hint(value, spec.hint) else Mismatch(path, value, spec)
        case ArraySpec():
            return _validate_array(spec, value, bindings, path)
        case UnionSpec():
            return _validate_union(spec, value, bindings, path)
        case TupleSpec() | ItemsSpec() | MappingSpec() | FieldsSpec():
            parts = _parts(spec, value, path)
    if parts is None:
        return Mismatch(path, value, spec)
    for where, item, part in parts:
        mismatch = validate(part, item, bindings, where)
        if mismatch is not None:
            return mismatch
    return None


def _parts(
    spec: TupleSpec | ItemsSpec | MappingSpec | FieldsSpec, value: Any, path: str
) -> list[tuple[str, Any, Spec]] | None:
    """Return what is in a container, with its path and its spec; None where the container does not match."""
    if not isinstance(value, tuple if isinstance(spec, TupleSpec) else spec.container):
        return None
    items: Any = value
    match spec:
        case TupleSpec():
            if len(items) != len(spec.items):
                return None
            return [(f"{path}[{i}]", items[i], part) for i, part in enumerate(spec.items)]
        case ItemsSpec():
            return [(f"{path}[{i}]", item, spec.item) for i, item in enumerate(items)]
        case MappingSpec():
            keys = [(f"{path} key {key!r}", key, spec.key) for key in items]
            return [*keys, *((f"{path}[{key!r}]", item, spec.value) for key, item in items.items())]
        case FieldsSpec() if spec.by_key:
            if any(name not in items and name not in spec.optional for name, _ in spec.fields):
                return None
            return [(f"{path}[{name!r}]", items[name], part) for name, part in spec.fields if name in items]
        case FieldsSpec():
            return [(f"{path}.{name}", getattr(items, name), part) for name, part in spec.fields]


def _validate_union(spec: UnionSpec, value: Any, bindings: Bindings, path: str) -> Mismatch | None:
    mismatches: list[Mismatch] = []
    for arm in spec.arms:
        trial = bindings.copy()
        mismatch = validate(arm, value, trial, path)
        if mismatch is None:
            bindings.sizes.update(trial.sizes)
            return None
        mismatches.append(mismatch)
    # An arm with the right type but the wrong size is more helpful than "none of these types".
    for problems in (("size", "dtype"), ("rank",)):
        closest = [mismatch for mismatch in mismatches if mismatch.problem in problems]
        if closest:
            return closest[0] if len(closest) == 1 else Mismatch(path, value, spec)
    return Mismatch(path, value, spec)


def _validate_array(spec: ArraySpec, value: Any, bindings: Bindings, path: str) -> Mismatch | None:
    if not _is_array(spec, value) or not has_shape(value):
        return Mismatch(path, value, spec)
    shape = tuple(value.shape)
    wanted = _wanted_sizes(spec, shape, bindings)
    if wanted is None:
        expected = tuple(_size_if_bound(axis, bindings) for axis in spec.axes.axes)
        return Mismatch(path, value, spec, expected, problem="rank", known=bindings.copy())
    mismatch = partial(Mismatch, path, value, spec, wanted.sizes, known=bindings.copy())
    for index, (size, asked) in enumerate(zip(shape, wanted.sizes, strict=True)):
        if asked is not None and size != asked:
            return mismatch(axis=index, problem="size")
    if wanted.conflict:
        return mismatch(problem="size", reason=wanted.conflict)
    # Our code found that the sizes match; jaxtyping has the last word on them and on the dtype.
    text = " ".join(
        "_" if asked is None or not isinstance(asked, int) else str(asked) for asked in wanted.sizes
    )
    annotation = cast(Any, spec.family)[spec.array_type, text]
    if not isinstance(value, annotation):
        dtype_fits = isinstance(value, cast(Any, spec.family)[spec.array_type, "..."])
        problem = "size" if dtype_fits else "dtype"
        return mismatch(problem=problem, reason=annotation.__instancecheck_str__(value))
    bindings.sizes.update(wanted.bound)
    return None


def has_shape(value: Any) -> bool:
    """Whether a tensor has a shape: a nested tensor of strided layout raises an error instead."""
    return not (isinstance(value, torch.Tensor) and value.is_nested and value.layout is torch.strided)


def _is_array(spec: ArraySpec, value: Any) -> bool:
    if spec.array_type is Any:
        return hasattr(value, "shape") and hasattr(value, "dtype")
    return isinstance(value, spec.array_type)


@dataclass
class _Wanted:
    sizes: tuple[Size | None, ...]  # one for each axis of the tensor
    bound: dict[str, Size]
    conflict: str = ""


def _wanted_sizes(spec: ArraySpec, shape: tuple[Size, ...], bindings: Bindings) -> _Wanted | None:
    """Return the required size of each axis of a shape; None if the number of axes does not match."""
    axes, many = spec.axes.axes, spec.axes.many_index
    extra = len(shape) - len(axes)
    if (many is None and extra != 0) or extra < -1:
        return None
    here = bindings.copy()
    places = [
        (axis, index if many is None or index < many else index + extra)
        for index, axis in enumerate(axes)
        if index != many
    ]
    # Names first: an expression may precede the axis that it is computed from.
    for axis, place in places:
        fits_any = axis.broadcast and shape[place] == 1
        if axis.kind is AxisKind.NAMED and here.get(axis.name) is None and not fits_any:
            here.sizes[axis.name] = shape[place]
    asked: dict[int, Size | None] = {
        place: 1 if axis.broadcast and shape[place] == 1 else known_size(axis, here) for axis, place in places
    }
    wanted = _Wanted((), here.sizes)
    if many is not None:
        axis, sizes = axes[many], shape[many : many + extra + 1]
        asked.update(enumerate(sizes, many))
        held = here.get(axis.key) if axis.kind is AxisKind.MANY else None
        if held is not None:
            _compare_many(axis, held, sizes, many, asked, wanted)
        elif axis.kind is AxisKind.MANY:
            here.sizes[axis.key] = (True, sizes) if axis.broadcast else sizes
    wanted.sizes = tuple(asked[place] for place in range(len(shape)))
    return wanted


def _compare_many(
    axis: Axis,
    held: Size,
    sizes: tuple[Size, ...],
    many: int,
    asked: dict[int, Size | None],
    wanted: _Wanted,
) -> None:
    """Compare `*name` with its earlier sizes; `*#name` may be broadcast, in either direction.

    A name bound by `*#name` is stored as `(True, sizes)`, since later ones may still widen it.
    """
    widened = bool(held) and held[0] is True
    before = cast("tuple[Size, ...]", held[1] if widened else held)
    if not widened and not axis.broadcast:
        if len(before) == len(sizes):
            asked.update(enumerate(before, many))
        else:
            wanted.conflict = f"{axis.text} is {list(sizes)}, expected {list(before)}"
        return
    try:
        together = tuple(cast(Any, torch).broadcast_shapes(sizes, before))
    except RuntimeError:
        wanted.conflict = f"{axis.text} is {list(sizes)}, which cannot be broadcast with {list(before)}"
        return
    if not widened and together != before:
        wanted.conflict = f"{axis.text} is {list(sizes)}, which cannot be broadcast to {list(before)}"
    elif widened and not axis.broadcast and together != sizes:
        wanted.conflict = f"{axis.text} is {list(sizes)}, to which {list(before)} cannot be broadcast"
    elif widened:
        wanted.bound[axis.key] = (True, together) if axis.broadcast else together


def known_size(axis: Axis, bindings: Bindings) -> Size | None:
    """Return the size that an axis must have, or None if that is not known."""
    if axis.kind is AxisKind.FIXED:
        return axis.size
    if axis.kind is AxisKind.NAMED:
        return bindings.get(axis.name)
    if axis.kind is AxisKind.EXPRESSION:
        return bindings.evaluate(axis)
    return None


def _size_if_bound(axis: Axis, bindings: Bindings) -> Size | None:
    try:
        return known_size(axis, bindings)
    except AnnotationError:
        return None  # computed from an axis that is not bound
