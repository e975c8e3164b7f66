"""The policy for other people's code: what cannot be enforced is noted and left alone."""

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
    value: str  # what came, and the sizes that were bound before


class Lenient(Policy):
    """Enforces tensor annotations where they stand.

    Args:
        module: the name of the module of the function.
        line: where the function is defined.
        skip: is told what is not enforced.
        plain: check also hints without tensors, as the type checker does that decorates the function.
    """

    strict = False

    collector: Callable[[Lie], None] | None = None
    """Is told every lie in place of the caller, who gets no error; one for the process."""

    def __init__(self, module: str, line: int, skip: Callable[[Skipped], None], *, plain: bool) -> None:
        self.module, self.line, self.skip, self.plain = module, line, skip, plain

    def refuse(self, title: str, where: str, line: int, reason: str) -> None:
        """Note what is not checked."""
        self.skip(Skipped(self.module, line or self.line, title, where, reason))

    def adapt(self, spec: Spec, title: str, where: str, line: int = 0) -> Spec:
        """Leave alone what has no tensors, and what is checked when it is constructed."""
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
        """Accept a default that is not what the annotation says."""
        try:
            if validate(spec, default, Bindings({})) is None:
                return spec
        except AnnotationError:
            return spec  # computed from another argument
        plain = isinstance(default, int | str | bytes | enum.Enum)
        return UnionSpec((PlainSpec(Literal[default] if plain else type(default)), spec))  # pyright: ignore

    def tolerates(self, error: ContractError, site: Site, title: str) -> bool:
        """Tell the collector, if there is one."""
        if Lenient.collector is None:
            return False
        known = ", ".join(f"{name}={size}" for name, size in error.bindings.items())
        value = f"{error.got}, where {known}" if known else error.got
        line, where = site.line or self.line, error.where or site.name
        Lenient.collector(Lie(self.module, line, title, where, error.expected, value))
        return True

    def excuses(self, error: Exception, site: Site, title: str) -> bool:
        """Note that an annotation cannot be judged: valid input must not fail."""
        self.refuse(title, site.name, site.line, f"{type(error).__name__}: {error}")
        return True


def has_fields_of_keys(spec: Spec) -> bool:
    """Whether a spec has a typed dict in it."""
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
    """Replace classes with fields, which are checked when they are constructed, by the class."""
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
    """Give the axes of every typed dict names of its own; of those in a container, any size will do."""

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
