"""A type hint becomes a tree of specs: what to check in the value itself and in everything it holds."""

# Hints are looked at from outside here, and typeshed has no types for what they are made of.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import collections
import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, TypeVar, Union, cast

import torch
from beartype.door import is_bearable
from jaxtyping import AbstractArray, AbstractDtype, AnnotationError

from .axes import Axes, UnsupportedAxesError, parse


@dataclass(frozen=True)
class Anything:
    """`Any`, `object`, or nothing written: there is nothing to check."""


@dataclass(frozen=True)
class ArraySpec:
    """A jaxtyping annotation such as `Float[Tensor, "batch 3"]`; equal if it asks for the same."""

    array_type: Any  # the class that the value must be an instance of, or `Any`
    dtypes: Any
    axes: Axes
    hint: type[AbstractArray] = dataclasses.field(compare=False)

    @property
    def family(self) -> type[AbstractDtype]:
        """The dtype family, such as `Float`."""
        family = self.hint.dtype
        if self.dtypes == family.dtypes:
            return family
        return _narrowed_family(family.__name__, tuple(self.dtypes))


@lru_cache(maxsize=256)
def _narrowed_family(name: str, dtypes: tuple[Any, ...]) -> type[AbstractDtype]:
    """The family of a nested annotation such as `Shaped[Float[Tensor, "c"], "b"]`, which has no name."""
    return type(name, (AbstractDtype,), {"dtypes": dtypes})


@dataclass(frozen=True)
class PlainSpec:
    """A hint without tensors in it, left to beartype."""

    hint: Any


@dataclass(frozen=True)
class UnionSpec:
    """At least one arm must fit; the first that does binds its axes."""

    arms: tuple[Spec, ...]


@dataclass(frozen=True)
class TupleSpec:
    """`tuple[A, B]`: so many items, each with a spec of its own."""

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
    """A NamedTuple, dataclass or TypedDict: every field that holds tensors is checked."""

    container: type
    fields: tuple[tuple[str, Spec], ...]
    optional: frozenset[str] = frozenset()  # keys of a TypedDict that may be missing

    @property
    def by_key(self) -> bool:
        """Whether fields are keys of a dict and not attributes."""
        return issubclass(self.container, dict)


Spec = Anything | ArraySpec | PlainSpec | UnionSpec | TupleSpec | ItemsSpec | MappingSpec | FieldsSpec

_ITEM_CONTAINERS: dict[Any, type] = {
    origin: origin
    for origin in (
        list,
        set,
        frozenset,
        collections.deque,
        collections.abc.Sequence,
        collections.abc.MutableSequence,
        collections.abc.Collection,
        collections.abc.Set,
        collections.abc.MutableSet,
    )
}
_MAPPING_CONTAINERS: dict[Any, type] = {
    origin: origin
    for origin in (
        dict,
        collections.OrderedDict,
        collections.defaultdict,
        collections.abc.Mapping,
        collections.abc.MutableMapping,
    )
}


def spec_of(hint: Any) -> Spec:
    """Turn a resolved type hint into a spec.

    Raises:
        AnnotationError: the hint holds tensor annotations where they could not be enforced; the message
            says what to write instead.
    """
    if hint is Any or hint is object or hint is inspect.Parameter.empty:
        return Anything()
    if hint is None or hint is type(None):
        return PlainSpec(None)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        try:
            return ArraySpec(hint.array_type, hint.dtypes, parse(hint.dim_str), hint)
        except UnsupportedAxesError as error:
            raise AnnotationError(str(error)) from None
    if isinstance(hint, typing.ForwardRef):
        raise AnnotationError(
            f"write {hint.__forward_arg__} without quotes: inside another hint it is not resolved"
        )
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if type(hint).__name__ == "TypeAliasType":  # `type Images = ...`, Python 3.12
        return spec_of(hint.__value__)
    if isinstance(hint, typing.NewType):
        return spec_of(hint.__supertype__)
    if isinstance(hint, TypeVar):
        return _spec_of_typevar(hint)
    if origin is Annotated and has_tensors(arguments[0]):
        return spec_of(arguments[0])
    if origin in (typing.Final, typing.ClassVar, typing.Required, typing.NotRequired):
        return spec_of(arguments[0])
    if origin is Union or origin is types.UnionType:
        return UnionSpec(tuple(spec_of(arm) for arm in arguments))
    fields = _spec_of_fields(hint)
    if fields is not None:
        return fields
    if not has_tensors(hint):
        return _spec_of_plain(hint)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return ItemsSpec(tuple, spec_of(arguments[0]))
        return TupleSpec(tuple(spec_of(item) for item in arguments))
    if origin in _ITEM_CONTAINERS:
        return ItemsSpec(_ITEM_CONTAINERS[origin], spec_of(arguments[0]))
    if origin in _MAPPING_CONTAINERS:
        return MappingSpec(_MAPPING_CONTAINERS[origin], spec_of(arguments[0]), spec_of(arguments[1]))
    raise AnnotationError(_unenforceable(hint, origin))


def _spec_of_plain(hint: Any) -> Spec:
    try:
        is_bearable(None, hint)
    except Exception as error:
        raise AnnotationError(f"beartype cannot check the type hint {hint!r}: {error}") from None
    return PlainSpec(hint)


def _spec_of_typevar(variable: TypeVar) -> Spec:
    if variable.__constraints__:
        return UnionSpec(tuple(spec_of(constraint) for constraint in variable.__constraints__))
    return spec_of(variable.__bound__) if variable.__bound__ is not None else Anything()


def _spec_of_fields(hint: Any) -> Spec | None:
    """A spec for a class whose fields hold tensors; None for any other hint."""
    if not isinstance(hint, type):
        return None
    optional = frozenset[str]()
    if typing.is_typeddict(hint):
        names = set(hint.__annotations__)
        optional = cast("frozenset[str]", hint.__optional_keys__)
    elif issubclass(hint, tuple) and hasattr(hint, "_fields"):
        names = set(cast("tuple[str, ...]", hint._fields))
    elif dataclasses.is_dataclass(hint):
        names = {field.name for field in dataclasses.fields(hint)}
    else:
        return None
    if not has_tensors(hint):
        return None
    hints = typing.get_type_hints(hint, include_extras=True)
    fields = tuple((name, spec_of(field)) for name, field in hints.items() if name in names)
    return FieldsSpec(dict if typing.is_typeddict(hint) else hint, fields, optional)


def has_tensors(hint: Any) -> bool:
    """Whether a jaxtyping annotation stands anywhere in the hint, fields of named classes included."""
    return any(_tensors_in(hint, seen=set()))


def _tensors_in(hint: Any, seen: set[int]) -> Iterator[bool]:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        yield True
    if id(hint) in seen:
        return
    seen.add(id(hint))
    for argument in typing.get_args(hint):
        for part in cast("list[Any]", argument) if isinstance(argument, list) else [argument]:
            yield from _tensors_in(part, seen)
    if type(hint).__name__ == "TypeAliasType":
        yield from _tensors_in(hint.__value__, seen)
    if isinstance(hint, typing.NewType):
        yield from _tensors_in(hint.__supertype__, seen)
    if isinstance(hint, TypeVar):
        yield from _tensors_in(hint.__bound__, seen)
        for constraint in hint.__constraints__:
            yield from _tensors_in(constraint, seen)
    if isinstance(hint, type) and _has_declared_fields(hint):
        for field in typing.get_type_hints(hint, include_extras=True).values():
            yield from _tensors_in(field, seen)


def _has_declared_fields(cls: type) -> bool:
    named_tuple = issubclass(cls, tuple) and hasattr(cls, "_fields")
    return named_tuple or typing.is_typeddict(cls) or dataclasses.is_dataclass(cls)


def _unenforceable(hint: Any, origin: Any) -> str:
    remedies = {
        collections.abc.Callable: "annotate it as Callable[..., Tensor] and decorate the callable itself"
        " with @tinynets.contract",
        collections.abc.Iterable: "write list[...] or Sequence[...]: checking an iterator would consume it",
        collections.abc.Iterator: "write list[...] or Sequence[...]: checking an iterator would consume it",
        collections.abc.Generator: "write list[...] or Sequence[...]: checking a generator would consume it",
        type: "write type without the tensor annotation",
    }
    remedy = remedies.get(
        origin, "write it with tuple, list, dict, NamedTuple, TypedDict, dataclass or Union"
    )
    return f"the tensors in {hint!r} cannot be enforced; {remedy}"


@lru_cache(maxsize=1)
def _torch_dtypes() -> tuple[torch.dtype, ...]:
    return tuple({value for value in vars(torch).values() if isinstance(value, torch.dtype)})


class _Probe:
    """The least that jaxtyping takes for an array: used to ask it which dtypes a family holds."""

    shape = ()

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


@lru_cache(maxsize=256)
def accepted_dtypes(family: type[AbstractDtype]) -> frozenset[torch.dtype]:
    """Return the torch dtypes that jaxtyping counts to a family such as `Float`; jaxtyping itself decides."""
    annotation = cast(Any, family)[_Probe, "..."]
    return frozenset(dtype for dtype in _torch_dtypes() if isinstance(_Probe(dtype), annotation))
