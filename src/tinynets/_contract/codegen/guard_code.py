"""Write guards, code that quickly accepts most values that match: classes, dtypes, literals, unions, and
every item of a container; the part for shapes is in `shape_code.py`.

A guard reads `value.shape` and `value.dtype` once, compares ints, and binds axis names to local variables of
the checked function. It is sound but not complete: values that it does not accept are validated.
`torch.compile` traces the same source, so it uses only what dynamo supports without a graph break.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, cast, get_args, get_origin

import torch
from jaxtyping import AbstractDtype, Shaped

from ..annotations.axes import AxisKind
from ..annotations.plain_types import classes_of, is_class, matches_hint
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
    accepted_dtypes,
    axis_tokens,
)
from .shape_code import AxisScope, axis_variable, write_shape_guard
from .support import ArrayTest
from .syntax import indented

# Builtins that generated code calls by name.
CALLED = frozenset({"isinstance", "len", "callable", "locals"})

# Comparing with the dtype of most tensors is faster than hashing.
_USUAL_DTYPES = (torch.float32, torch.int64, torch.bool)


def axis_keys(spec: Spec) -> set[str]:
    """Return the axis names that a value can bind."""
    return {axis.key for axis in axis_tokens(spec) if axis.is_named}


def _always_binds(spec: Spec) -> bool:
    """Whether every axis name of the spec is bound after a value was accepted."""
    match spec:
        case ArraySpec():
            return not any(axis.broadcast and axis.kind is AxisKind.NAMED for axis in spec.axes.axes)
        case TupleSpec():
            return all(map(_always_binds, spec.items))
        case Anything() | PlainSpec():
            return True
        case _:
            return False


@dataclass
class GuardWriter:
    """Writes the guards of one function, in source order."""

    scope: AxisScope
    shadowed: frozenset[str] = frozenset()  # builtins whose names the function or its module defines too
    constants: dict[str, Any] = field(default_factory=dict[str, Any])  # free variable of the source -> value

    def constant(self, kind: str, name: str, value: Any) -> str:
        """Return the free variable for a value, such as `_tn_dtype_float32`."""
        variable = re.sub(r"\W", "_", f"_tn_{kind}_{name}")
        if self.constants.setdefault(variable, value) is value:
            return variable
        return self.constant(kind, f"{name}_", value)  # another class of the same name, say

    def type_constant(self, kind: type) -> str:
        """Return the free variable for the second argument of `isinstance`."""
        return self.constant("type", kind.__name__, classes_of(kind))

    def write(self, spec: Spec, value: str, *, certain: bool) -> str | list[str]:
        """Write the guard for the variable `value`: an expression that accepts, or lines that set `_tn_ok`.

        A `certain` place runs exactly once, before all places that are written later.
        """
        test = self._expression(spec, value, atomic=not (certain and isinstance(spec, ArraySpec)))
        keys = axis_keys(spec)
        # A container that fails halfway must not leave the axes bound by its first items.
        unsure = [key for key in self._unbound(spec) if key in self.scope.states or not certain]
        result: str | list[str] = test or self._undone(
            unsure, self._lines(spec, value, depth=0), "_tn_before"
        )
        if test is None:
            items = sorted({word for line in result for word in re.findall(r"_tn_item\d+\w*", line)})
            result = [*result, " = ".join([*items, "None"])] if items else result
        self.scope.learn(keys, certain=certain and _always_binds(spec))
        for name in sorted(self.scope.called):
            self.constants.setdefault(f"_tn_builtin_{name}", getattr(builtins, name))
        return result

    def with_builtins(self, lines: list[str]) -> list[str]:
        """Replace calls of builtins whose names mean something else in the function."""
        if not self.shadowed:
            return lines
        names = "|".join(sorted(self.shadowed))
        self.constants.update({f"_tn_builtin_{name}": getattr(builtins, name) for name in self.shadowed})
        return [re.sub(rf"(?<![\w.])({names})\(", r"_tn_builtin_\1(", line) for line in lines]

    def _unbound(self, spec: Spec) -> list[str]:
        """Return the axes that a value binds, or may have to bind."""
        keys = axis_keys(spec) - self.scope.module_axes
        return sorted(key for key in keys if not self.scope.states.get(key))

    def _undone(self, keys: list[str], lines: list[str], saved: str) -> list[str]:
        """Add lines that unbind axes again if the guard written in `lines` fails."""
        if not keys:
            return lines
        self.scope.uncertain.update(keys)
        variables = "".join(f"{axis_variable(key)}, " for key in keys)
        return [f"{saved} = ({variables})", *lines, "if not _tn_ok:", f"    ({variables}) = {saved}"]

    # Guards that are one expression

    def _expression(self, spec: Spec, value: str, *, atomic: bool) -> str | None:
        match spec:
            case Anything():
                return "True"
            case PlainSpec():
                return self._plain(spec.hint, value)
            case ArraySpec():
                return self._array(spec, value, atomic=atomic)
            case UnionSpec():
                # What is never an array goes first: that is faster, and binds nothing. Of the others, the
                # first that fits binds its axes.
                arms = sorted(spec.arms, key=_may_be_array)
                tests = [self._expression(arm, value, atomic=True) for arm in arms]
                if any(test is None for test in tests):
                    return None
                return "(" + " or ".join(f"({test})" for test in tests) + ")"
            case _:
                return None

    def _plain(self, hint: Any, value: str) -> str:
        if hint is None:
            return f"{value} is None"
        if is_class(hint):
            return f"isinstance({value}, {self.type_constant(hint)})"
        if get_origin(hint) is Literal:
            kinds = tuple(dict.fromkeys(map(type, get_args(hint))))
            kind = self.constant("type", "_".join(kind.__name__ for kind in kinds), kinds)
            choices = self.constant("choices", "literal", get_args(hint))
            return f"(isinstance({value}, {kind}) and {value} in {choices})"
        if hint is Callable or get_origin(hint) is Callable:
            return f"callable({value})"
        # beartype cannot be traced, so these hints are not checked under torch.compile.
        matches = self.constant("matches", "hint", matches_hint)
        return f"(_tn_compiling() or {matches}({value}, {self.constant('hint', 'plain', hint)}))"

    def _array(self, spec: ArraySpec, value: str, *, atomic: bool) -> str | None:
        shape = write_shape_guard(spec.axes, value, self.scope, atomic=atomic)
        if shape is None:
            return None
        kind, terms = spec.array_type, list[str]()
        if kind is not Any:
            if not isinstance(kind, type):
                return None
            terms.append(f"isinstance({value}, {self.type_constant(kind)})")
        if kind is Any or not issubclass(cast(type, kind), torch.Tensor):
            name = spec.family.__name__
            terms.append(f"{self.constant('array', name, _array_test(spec.family))}({value})")
            return " and ".join([*terms, *shape.tests, *shape.bindings])
        terms += shape.tests
        dtypes = accepted_dtypes(spec.family)
        if dtypes != accepted_dtypes(Shaped):
            terms.append(self._dtype(spec.family.__name__, dtypes, value))
        return " and ".join(terms + shape.bindings)

    def _dtype(self, family: str, dtypes: frozenset[torch.dtype], value: str) -> str:
        usual = next((dtype for dtype in _USUAL_DTYPES if dtype in dtypes), None)
        if usual is None:
            return f"{value}.dtype in {self.constant('dtypes', family, dtypes)}"
        known = self.constant("dtype", str(usual).removeprefix("torch."), usual)
        if len(dtypes) == 1:
            return f"{value}.dtype is {known}"
        others = self.constant("dtypes", family, dtypes)
        return f"((_tn_dtype := {value}.dtype) is {known} or _tn_dtype in {others})"

    # Guards that need statements: containers

    def _lines(self, spec: Spec, value: str, depth: int) -> list[str]:
        """Write lines that set `_tn_ok`."""
        test = self._expression(spec, value, atomic=True)
        if test is not None:
            self.scope.learn(axis_keys(spec), certain=False)
            return [f"_tn_ok = {test}"]
        tests: list[str] = []
        match spec:
            case Anything() | PlainSpec() | ArraySpec():
                return ["_tn_ok = False"]  # an expression over axes that are not bound here
            case UnionSpec():
                return self._union_lines(spec, value, depth)
            case ItemsSpec() | MappingSpec():
                return self._loop_lines(spec, value, depth)
            case TupleSpec():
                tests.append(f"len({value}) == {len(spec.items)}")
                parts = [(f"{value}[{index}]", "_tn_ok", part) for index, part in enumerate(spec.items)]
            case FieldsSpec() if spec.by_key:
                tests += [f"{name!r} in {value}" for name, _ in spec.fields if name not in spec.optional]
                present = {name: f"_tn_ok and {name!r} in {value}" for name in spec.optional}
                parts = [(f"{value}[{n!r}]", present.get(n, "_tn_ok"), part) for n, part in spec.fields]
            case FieldsSpec():
                parts = [(f"{value}.{name}", "_tn_ok", part) for name, part in spec.fields]
        kind = self.type_constant(tuple if isinstance(spec, TupleSpec) else spec.container)
        lines = ["_tn_ok = " + " and ".join([f"isinstance({value}, {kind})", *tests])]
        item = f"_tn_item{depth}"
        for source, condition, part in parts:
            if not isinstance(part, Anything):
                inner = [f"{item} = {source}", *self._lines(part, item, depth + 1)]
                lines += [f"if {condition}:", *indented(inner)]
        return lines

    def _loop_lines(self, spec: ItemsSpec | MappingSpec, value: str, depth: int) -> list[str]:
        item = f"_tn_item{depth}"
        loop, parts = f"for {item} in {value}:", list[tuple[str, Spec]]()
        if isinstance(spec, MappingSpec):
            loop = f"for {item}_key, {item} in {value}.items():"
            parts.append((f"{item}_key", spec.key))
        parts.append((item, spec.value if isinstance(spec, MappingSpec) else spec.item))
        body: list[str] = []
        for name, part in parts:
            if not isinstance(part, Anything):
                body += [*self._lines(part, name, depth + 1), "if not _tn_ok:", "    break"]
        lines = [f"_tn_ok = isinstance({value}, {self.type_constant(spec.container)})"]
        return [*lines, "if _tn_ok:", *indented([loop, *indented(body)])] if body else lines

    def _union_lines(self, spec: UnionSpec, value: str, depth: int) -> list[str]:
        """Try the arms in turn; an arm that fails halfway leaves no axis bound for the next one."""
        lines: list[str] = []
        for index, arm in enumerate(sorted(spec.arms, key=_may_be_array)):
            unsure = self._unbound(arm) if not isinstance(arm, ArraySpec | PlainSpec) else []
            last = index == len(spec.arms) - 1
            inner = self._lines(arm, value, depth + 1)
            inner = inner if last else self._undone(unsure, inner, f"_tn_before{depth}")
            lines += ["if not _tn_ok:", *indented(inner)] if lines else inner
        return lines


@lru_cache(maxsize=256)
def _array_test(family: type[AbstractDtype]) -> ArrayTest:
    return ArrayTest(family)


def _may_be_array(spec: Spec) -> bool:
    """Whether an array of any class, or a container of arrays, may match the spec."""
    return not (isinstance(spec, PlainSpec) and spec.hint in (None, int, float, bool, complex, str, bytes))
