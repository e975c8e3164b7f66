"""Specs: a type hint as a tree of what a value must be, with the dtypes of families such as `Float`; and
sites, where in a function a value must be so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from jaxtyping import AbstractArray, AbstractDtype

from .axes import Axes, Axis
from .plain_types import has_missing_names


@dataclass(frozen=True)
class Anything:
    """`Any`, `object` or no annotation: nothing to check."""

    unchecked: Any = None  # a hint without tensors that beartype cannot check, such as `Self`


@dataclass(frozen=True)
class ArraySpec:
    """A jaxtyping annotation such as `Float[Tensor, "batch 3"]`; equal specs accept the same values."""

    array_type: Any  # the class that the value must be an instance of, or `Any`
    dtypes: Any  # names, or jaxtyping's sentinel for any dtype
    axes: Axes
    hint: type[AbstractArray] = dataclasses.field(compare=False)

    @property
    def family(self) -> type[AbstractDtype]:
        """The dtype family, such as `Float`."""
        family: type[AbstractDtype] = self.hint.dtype
        if self.dtypes == cast(Any, family).dtypes:
            return family
        return _narrowed_family(family.__name__, tuple(self.dtypes))


@lru_cache(maxsize=256)
def _narrowed_family(name: str, dtypes: tuple[Any, ...]) -> type[AbstractDtype]:
    """Create the family of a nested annotation such as `Shaped[Float[Tensor, "c"], "b"]`."""
    return type(name, (AbstractDtype,), {"dtypes": dtypes})


@dataclass(frozen=True)
class PlainSpec:
    """A hint without tensors, checked by beartype."""

    hint: Any
    unchecked: Any = None  # the whole hint, if it says more, such as `Callable[[Float[Tensor, "n"]], int]`


@dataclass(frozen=True)
class UnionSpec:
    """At least one arm must match; the first that does binds its axes."""

    arms: tuple[Spec, ...]


@dataclass(frozen=True)
class TupleSpec:
    """`tuple[A, B]`: a fixed number of items, each with its own spec."""

    items: tuple[Spec, ...]


@dataclass(frozen=True)
class ItemsSpec:
    """`list[A]`, `Sequence[A]`, `tuple[A, ...]` and the like: every item is checked."""

    container: type
    item: Spec


@dataclass(frozen=True)
class MappingSpec:
    """`dict[K, V]` and the like: every key and value is checked."""

    container: type
    key: Spec
    value: Spec


@dataclass(frozen=True)
class FieldsSpec:
    """A NamedTuple, dataclass or TypedDict with tensors: every field is checked."""

    container: type
    fields: tuple[tuple[str, Spec], ...]
    optional: frozenset[str] = frozenset()  # keys of a TypedDict that may be missing

    @property
    def by_key(self) -> bool:
        """Whether fields are keys of a dict instead of attributes."""
        return issubclass(self.container, dict)


Spec = Anything | ArraySpec | PlainSpec | UnionSpec | TupleSpec | ItemsSpec | MappingSpec | FieldsSpec


@dataclass(frozen=True)
class Site:
    """One place where one value is checked."""

    kind: str  # "argument", "local", "return", "yield" or "attribute"
    name: str  # the argument or variable; "return" or "yield" for what leaves the function
    spec: Spec
    line: int = 0
    end_line: int = 0
    variable: str = ""  # what holds the value: the name again, or a generated variable


def parts_of(spec: Spec) -> tuple[Spec, ...]:
    """Return the specs that a spec holds, in source order."""
    match spec:
        case UnionSpec(arms=parts) | TupleSpec(items=parts):
            return parts
        case ItemsSpec():
            return (spec.item,)
        case MappingSpec():
            return (spec.key, spec.value)
        case FieldsSpec():
            return tuple(part for _, part in spec.fields)
        case Anything() | ArraySpec() | PlainSpec():
            return ()


def leaves(spec: Spec) -> Iterator[Anything | ArraySpec | PlainSpec]:
    """Yield every spec that holds no other, in source order."""
    if isinstance(spec, Anything | ArraySpec | PlainSpec):
        yield spec
    for part in parts_of(spec):
        yield from leaves(part)


def axis_tokens(spec: Spec) -> Iterator[Axis]:
    """Yield every token of every axis string in a spec, in source order."""
    for leaf in leaves(spec):
        if isinstance(leaf, ArraySpec):
            yield from leaf.axes.axes


def unchecked_hints(spec: Spec) -> Iterator[Any]:
    """Yield the hints in a spec that are not enforced."""
    for leaf in leaves(spec):
        if isinstance(leaf, ArraySpec):
            continue
        if leaf.unchecked is not None:
            yield leaf.unchecked
        elif isinstance(leaf, PlainSpec) and has_missing_names(leaf.hint):
            yield leaf.hint


@lru_cache(maxsize=1)
def _torch_dtypes() -> tuple[torch.dtype, ...]:
    return tuple({value for value in vars(torch).values() if isinstance(value, torch.dtype)})


class _Probe:
    """The minimum that jaxtyping accepts as an array, to find out which dtypes a family has."""

    shape = ()

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype


@lru_cache(maxsize=256)
def accepted_dtypes(family: type[AbstractDtype]) -> frozenset[torch.dtype]:
    """Return the torch dtypes of a family such as `Float`, according to jaxtyping."""
    return frozenset(dtype for dtype in _torch_dtypes() if has_dtype(dtype, family))


def has_dtype(dtype: Any, family: type[AbstractDtype]) -> bool:
    """Whether a dtype of any library belongs to a family, according to jaxtyping."""
    return isinstance(_Probe(dtype), cast(Any, family)[_Probe, "..."])
