"""Parse a type hint into a spec: which containers, unions, aliases, TypeVars and classes with fields are
looked into, and the error for tensors where they cannot be enforced, as in `Iterator[...]`.
"""

# Type hints are inspected as values here, and typeshed has no types for their parts.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import collections
import collections.abc
import dataclasses
import inspect
import sys
import types
import typing
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Annotated, Any, TypeVar, Union, cast

from jaxtyping import AbstractArray, AnnotationError

from ...errors import UnsupportedAxesError
from .axes import parse_axis_string
from .plain_types import later_name, matches_hint
from .specs import (
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

_ITEM_CONTAINERS: tuple[Any, ...] = (
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
_MAPPING_CONTAINERS: tuple[Any, ...] = (
    dict,
    collections.OrderedDict,
    collections.defaultdict,
    collections.abc.Mapping,
    collections.abc.MutableMapping,
)

# The classes whose fields are being parsed.
_being_parsed: ContextVar[tuple[type, ...]] = ContextVar("_being_parsed", default=())


def parse_hint(hint: Any) -> Spec:
    """Parse a resolved type hint.

    Raises:
        AnnotationError: the hint has tensor annotations where they cannot be enforced; the message says
            what to write instead.
    """
    if hint is Any or hint is object or hint is inspect.Parameter.empty:
        return Anything()
    if hint is None or hint is type(None):
        return PlainSpec(None)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        try:
            return ArraySpec(hint.array_type, hint.dtypes, parse_axis_string(hint.dim_str), hint)
        except UnsupportedAxesError as error:
            raise AnnotationError(str(error)) from None
    value = _without_alias(hint)
    if value is not hint:
        return parse_hint(value)
    origin: Any = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if isinstance(hint, TypeVar):
        return _parse_typevar(hint)
    if origin is Annotated and has_tensors(arguments[0]):
        return parse_hint(arguments[0])
    if origin in (typing.Final, typing.ClassVar, typing.Required, typing.NotRequired, typing.Unpack):
        return parse_hint(arguments[0])
    if origin is Union or origin is types.UnionType:
        return UnionSpec(tuple(parse_hint(arm) for arm in arguments))
    fields = _parse_fields(hint)
    if fields is not None:
        return fields
    if origin is collections.abc.Callable and has_tensors(hint):
        return PlainSpec(collections.abc.Callable, unchecked=hint)
    if not arguments or any(map(is_unpacked, arguments)):
        origin = None
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return ItemsSpec(tuple, parse_hint(arguments[0]))
        return TupleSpec(tuple(parse_hint(item) for item in arguments))
    if origin in _ITEM_CONTAINERS:
        return ItemsSpec(origin, parse_hint(arguments[0]))
    if origin in _MAPPING_CONTAINERS:
        return MappingSpec(origin, parse_hint(arguments[0]), parse_hint(arguments[1]))
    if not has_tensors(hint):
        return _parse_plain(hint)
    raise AnnotationError(_unenforceable(hint, typing.get_origin(hint)))


def is_unpacked(hint: Any) -> bool:
    """Whether a hint stands for several values, as `*tuple[A, B]` and `Unpack[...]` do."""
    return typing.get_origin(hint) is typing.Unpack or bool(getattr(hint, "__unpacked__", False))


def _parse_plain(hint: Any) -> Spec:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about names that do not exist yet
            matches_hint(None, hint)
    except Exception:
        return Anything(unchecked=hint)
    return PlainSpec(hint)


def _without_alias(hint: Any) -> Any:
    """Return what a `NewType`, and from Python 3.12 on `type Images = ...` or `type Pair[T] = ...`, means."""
    if isinstance(hint, typing.NewType):
        return hint.__supertype__
    if type(hint).__name__ == "TypeAliasType":
        return hint.__value__
    alias = typing.get_origin(hint)
    if type(alias).__name__ != "TypeAliasType":
        return hint
    value = alias.__value__
    given = dict(zip(alias.__type_params__, typing.get_args(hint), strict=False))
    names: tuple[Any, ...] = getattr(value, "__parameters__", ())
    return value[tuple(given.get(name, name) for name in names)] if names else given.get(value, value)


def _parse_typevar(variable: TypeVar) -> Spec:
    if variable.__constraints__:
        return UnionSpec(tuple(parse_hint(constraint) for constraint in variable.__constraints__))
    return parse_hint(variable.__bound__) if variable.__bound__ is not None else Anything()


def _field_names(hint: Any) -> set[str] | None:
    """Return the names of the fields of a NamedTuple, TypedDict or dataclass; None for any other hint."""
    if not isinstance(hint, type):
        return None
    if typing.is_typeddict(hint):
        return set(hint.__annotations__)
    if issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return set(cast("tuple[str, ...]", hint._fields))
    return {field.name for field in dataclasses.fields(hint)} if dataclasses.is_dataclass(hint) else None


def _parse_fields(hint: Any) -> Spec | None:
    """Return the spec of a class with tensors in its fields; None for any other hint."""
    names = _field_names(hint)
    if names is None or not has_tensors(hint):
        return None
    by_key = typing.is_typeddict(hint)
    kind, optional = (dict, cast("frozenset[str]", hint.__optional_keys__)) if by_key else (hint, frozenset())
    outer = _being_parsed.get()
    if hint in outer:  # recursive, such as a tree: the depth of a guard is fixed
        return PlainSpec(kind, unchecked=hint)
    hints = {name: field for name, field in _field_hints(hint).items() if name in names}
    # In a file whose annotations are strings, the class itself does not know which of its keys are optional.
    optional |= {name for name, field in hints.items() if typing.get_origin(field) is typing.NotRequired}
    optional -= {name for name, field in hints.items() if typing.get_origin(field) is typing.Required}
    token = _being_parsed.set((*outer, hint))
    try:
        fields = tuple((name, parse_hint(field)) for name, field in hints.items())
    finally:
        _being_parsed.reset(token)
    return FieldsSpec(kind, fields, optional)


def has_tensors(hint: Any) -> bool:
    """Whether a hint contains a jaxtyping annotation, including in the fields of its classes."""
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
    value = _without_alias(hint)
    if value is not hint:
        yield from _tensors_in(value, seen)
    if isinstance(hint, TypeVar):
        yield from _tensors_in(hint.__bound__, seen)
        for constraint in hint.__constraints__:
            yield from _tensors_in(constraint, seen)
    if _field_names(hint) is not None:
        for field in _field_hints(hint).values():
            yield from _tensors_in(field, seen)


def _field_hints(cls: Any) -> dict[str, Any]:
    """Resolve the annotations of a class; those with unknown names and without tensors become `Any`."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError:
        pass
    bases = reversed(cls.__mro__)
    declared = [(base, *item) for base in bases for item in inspect.get_annotations(base).items()]
    return {name: _field_hint(base, name, annotation) for base, name, annotation in declared}


def _field_hint(base: type, name: str, annotation: Any) -> Any:
    field, missing = types.SimpleNamespace(__annotations__={name: annotation}), dict[str, Any]()
    while True:
        try:
            hint = typing.get_type_hints(field, vars(sys.modules[base.__module__]), missing, True)[name]
        except NameError as error:
            missing[str(error.name)] = later_name(str(error.name), lambda: None)
            continue
        except TypeError:
            hint = None  # axes in the brackets of a name that does not exist
            if not missing:
                raise
        if missing and (hint is None or has_tensors(hint)):
            unknown = next(iter(missing))
            raise AnnotationError(
                f"{base.__qualname__}.{name}: name {unknown!r} is not defined; import it at run time"
            )
        return Any if missing else hint


def _unenforceable(hint: Any, origin: Any) -> str:
    remedies = {
        collections.abc.Iterable: "write list[...] or Sequence[...]: checking an iterator would consume it",
        collections.abc.Iterator: "write list[...] or Sequence[...]: checking an iterator would consume it",
        collections.abc.Generator: "write list[...] or Sequence[...]: checking a generator would consume it",
        type: "write type without the tensor annotation",
    }
    remedy = remedies.get(
        origin, "write it with tuple, list, dict, NamedTuple, TypedDict, dataclass or Union"
    )
    return f"the tensors in {hint!r} cannot be enforced; {remedy}"
