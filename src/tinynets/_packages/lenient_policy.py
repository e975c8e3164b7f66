"""The policy of the import hook: what cannot be enforced is recorded and skipped, a default that does not
match is accepted, hints without tensors are usually ignored; `policy.py` has that of `tn.Module`.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from jaxtyping import AnnotationError

from .._contract.annotations.axes import Axes, Axis, AxisKind
from .._contract.annotations.plain_types import has_missing_names
from .._contract.annotations.policy import Policy
from .._contract.annotations.specs import (
    Anything,
    ArraySpec,
    FieldsSpec,
    ItemsSpec,
    MappingSpec,
    PlainSpec,
    Site,
    Spec,
    TupleSpec,
    UnionSpec,
    leaves,
    parts_of,
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

    def __str__(self) -> str:
        where = f"({self.where})" if self.where else ""
        return f"{self.module}:{self.line} {self.function}{where}: {self.reason}"


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
    """Enforces the tensor annotations of one function on their own lines only.

    `skip` is called with each annotation that is not enforced. If `plain`, hints without tensors are checked
    too, as the type checker that decorates the function would.
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
        """Leave alone what has no tensors, and what is checked when it is constructed."""
        if _has_typed_dict(spec):
            spec = _own_scope(spec, where if where.isidentifier() else "item")
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


def _has_typed_dict(spec: Spec) -> bool:
    return spec.by_key if isinstance(spec, FieldsSpec) else any(map(_has_typed_dict, parts_of(spec)))


def _with_parts(spec: Spec, change: Callable[[Spec], Spec]) -> Spec:
    """Return a union or container with what it holds replaced, keys left out; any other spec as it is."""
    match spec:
        case UnionSpec():
            return UnionSpec(tuple(map(change, spec.arms)))
        case TupleSpec():
            return TupleSpec(tuple(map(change, spec.items)))
        case ItemsSpec():
            return ItemsSpec(spec.container, change(spec.item))
        case MappingSpec():
            return MappingSpec(spec.container, spec.key, change(spec.value))
        case _:
            return spec


def _constructed_elsewhere(spec: Spec) -> Spec:
    """Replace classes with fields, which are checked when they are constructed, by the class."""
    if isinstance(spec, FieldsSpec) and not spec.by_key:
        return PlainSpec(spec.container)
    return _with_parts(spec, _constructed_elsewhere)


def _own_scope(spec: Spec, owner: str, *, inside: bool = False, field: bool = False) -> Spec:
    """Give the axes of every typed dict names of its own; of those in a container, any size will do."""

    def renamed(axis: Axis) -> Axis:
        if axis.is_named and not inside:
            return dataclasses.replace(axis, name=f"{axis.name}_of_{owner}")
        if axis.kind is AxisKind.MANY:
            return dataclasses.replace(axis, kind=AxisKind.MANY_ANY, name="")
        sized = axis.kind in (AxisKind.NAMED, AxisKind.EXPRESSION)
        return dataclasses.replace(axis, kind=AxisKind.ANY, name="") if sized else axis

    if isinstance(spec, ArraySpec) and field:
        axes = Axes(spec.axes.text, tuple(map(renamed, spec.axes.axes)))
        return dataclasses.replace(spec, axes=axes)
    if isinstance(spec, FieldsSpec) and spec.by_key:
        change = partial(_own_scope, owner=owner, inside=inside or field, field=True)
        return FieldsSpec(spec.container, tuple((n, change(part)) for n, part in spec.fields), spec.optional)
    several = not isinstance(spec, UnionSpec)
    return _with_parts(
        spec, partial(_own_scope, owner=owner, inside=inside or (several and not field), field=field)
    )
