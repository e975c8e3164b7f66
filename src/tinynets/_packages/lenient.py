"""The policy for third-party code: annotations that cannot be enforced are recorded and skipped."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import AnnotationError

from .._contract.annotations.axes import Axes, Axis, AxisKind
from .._contract.annotations.plain_types import has_missing_names
from .._contract.annotations.policy import Policy
from .._contract.annotations.sites import Site
from .._contract.annotations.specs import (
    Anything,
    ArraySpec,
    FieldsSpec,
    ItemsSpec,
    MappingSpec,
    PlainSpec,
    Spec,
    TupleSpec,
    UnionSpec,
    leaves,
    unchecked_hints,
)
from .._contract.verdict.validate import Bindings, validate
from ..errors import ContractError


@dataclass(frozen=True)
class Skipped:
    """An annotation that is not enforced."""

    module: str
    line: int
    function: str
    where: str  # the argument, the variable, "return", "yield"; "" for the whole function
    reason: str


@dataclass(frozen=True)
class Lie:
    """An annotation that a value did not match."""

    module: str
    line: int
    function: str
    where: str  # as in an error: `features[1]`, `return`
    annotation: str
    value: str  # the value, and the axis sizes that were bound before


class Lenient(Policy):
    """Enforces tensor annotations on their own lines only.

    Args:
        module: the name of the module of the function.
        line: the line in which the function is defined.
        skip: called with each annotation that is not enforced.
        plain: check hints without tensors too, like the type checker that decorates the function.
    """

    strict = False

    collector: Callable[[Lie], None] | None = None
    """Called with every lie instead of raising an error; shared by the process."""

    def __init__(self, module: str, line: int, skip: Callable[[Skipped], None], *, plain: bool) -> None:
        self.module, self.line, self.skip, self.plain = module, line, skip, plain

    def refuse(self, title: str, where: str, line: int, reason: str) -> None:
        """Record an annotation that is not checked."""
        self.skip(Skipped(self.module, line or self.line, title, where, reason))

    def adapt(self, spec: Spec, title: str, where: str, line: int = 0) -> Spec:
        """Skip hints without tensors, and classes that are checked when they are constructed."""
        if has_fields_of_keys(spec):
            spec = _own_scope(spec, where if where.isidentifier() else "item", inside=False)
        spec = _constructed_elsewhere(spec)
        arrays = [leaf for leaf in leaves(spec) if isinstance(leaf, ArraySpec)]
        if not arrays and not self.plain:
            return Anything()
        for hint in unchecked_hints(spec):
            if has_missing_names(hint):
                name = getattr(hint, "__name__", hint)
                self.refuse(
                    title, where, line, f"{name} does not exist at run time: only type checkers import it"
                )
                return Anything()
        if not all(array.array_type is Any or isinstance(array.array_type, type) for array in arrays):
            self.refuse(title, where, line, "its arrays are of a class that cannot be looked up")
            return Anything()
        return spec

    def with_default(self, spec: Spec, default: Any) -> Spec:
        """Accept a default that does not match the annotation."""
        try:
            if validate(spec, default, Bindings({})) is None:
                return spec
        except AnnotationError:
            return spec  # computed from another argument
        plain = isinstance(default, int | str | bytes | enum.Enum)
        return UnionSpec((PlainSpec(Literal[default] if plain else type(default)), spec))  # pyright: ignore

    def tolerates(self, error: ContractError, site: Site, title: str) -> bool:
        """Pass the lie to the collector, if there is one."""
        if Lenient.collector is None:
            return False
        known = ", ".join(f"{name}={size}" for name, size in error.bindings.items())
        value = f"{error.got}, where {known}" if known else error.got
        line, where = site.line or self.line, error.where or site.name
        Lenient.collector(Lie(self.module, line, title, where, error.expected, value))
        return True

    def excuses(self, error: Exception, site: Site, title: str) -> bool:
        """Record that an annotation cannot be validated: valid input must not fail."""
        self.refuse(title, site.name, site.line, f"{type(error).__name__}: {error}")
        return True


def has_fields_of_keys(spec: Spec) -> bool:
    """Whether a spec contains a TypedDict."""
    match spec:
        case FieldsSpec():
            return spec.by_key
        case UnionSpec(arms=parts) | TupleSpec(items=parts):
            return any(map(has_fields_of_keys, parts))
        case ItemsSpec():
            return has_fields_of_keys(spec.item)
        case MappingSpec():
            return has_fields_of_keys(spec.value)
        case _:
            return False


def _constructed_elsewhere(spec: Spec) -> Spec:
    """Replace the spec of a class with fields by the plain class: fields are checked at construction."""
    match spec:
        case FieldsSpec() if not spec.by_key:
            return PlainSpec(spec.container)
        case UnionSpec():
            return UnionSpec(tuple(map(_constructed_elsewhere, spec.arms)))
        case TupleSpec():
            return TupleSpec(tuple(map(_constructed_elsewhere, spec.items)))
        case ItemsSpec():
            return ItemsSpec(spec.container, _constructed_elsewhere(spec.item))
        case MappingSpec():
            return MappingSpec(spec.container, spec.key, _constructed_elsewhere(spec.value))
        case _:
            return spec


def _own_scope(spec: Spec, owner: str, *, inside: bool, field: bool = False) -> Spec:
    """Rename the axes of each TypedDict to be unique; in a container of TypedDicts, they accept any size."""

    def renamed(axis: Axis) -> Axis:
        if axis.kind in (AxisKind.NAMED, AxisKind.MANY) and not inside:
            return dataclasses.replace(axis, name=f"{axis.name}_of_{owner}")
        if axis.kind in (AxisKind.NAMED, AxisKind.EXPRESSION):
            return dataclasses.replace(axis, kind=AxisKind.ANY, name="")
        return (
            dataclasses.replace(axis, kind=AxisKind.MANY_ANY, name="") if axis.kind is AxisKind.MANY else axis
        )

    match spec:
        case ArraySpec() if field:
            axes = Axes(spec.axes.text, tuple(map(renamed, spec.axes.axes)))
            return dataclasses.replace(spec, axes=axes)
        case FieldsSpec() if spec.by_key:
            inside = inside or field
            parts = tuple((n, _own_scope(part, owner, inside=inside, field=True)) for n, part in spec.fields)
            return FieldsSpec(spec.container, parts, spec.optional)
        case UnionSpec():
            return UnionSpec(tuple(_own_scope(arm, owner, inside=inside, field=field) for arm in spec.arms))
        case TupleSpec():
            return TupleSpec(
                tuple(_own_scope(i, owner, inside=not field or inside, field=field) for i in spec.items)
            )
        case ItemsSpec():
            inside = inside or not field
            return ItemsSpec(spec.container, _own_scope(spec.item, owner, inside=inside, field=field))
        case MappingSpec():
            inside = inside or not field
            return MappingSpec(
                spec.container, spec.key, _own_scope(spec.value, owner, inside=inside, field=field)
            )
        case _:
            return spec
