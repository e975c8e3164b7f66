"""Write guards: straight-line source that accepts most values that match, fast.

A guard reads `value.shape` and `value.dtype` once, compares ints, and binds axis names to local variables of
the checked function. It is sound but not complete: what it does not accept is validated. `torch.compile`
traces the same source, so it uses only what dynamo supports without a graph break.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import torch
from jaxtyping import Shaped

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
from .shape_code import AxisScope, write_shape_guard
from .syntax import indented

# Comparing with the dtype of most tensors is faster than hashing.
_USUAL_DTYPES = (torch.float32, torch.int64, torch.bool)


def axis_keys(spec: Spec) -> set[str]:
    """Return the axis names that a value can bind."""
    return {axis.key for axis in axis_tokens(spec) if axis.kind in (AxisKind.NAMED, AxisKind.MANY)}


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
        """Write the guard for the variable `value`.

        Args:
            spec: what the value must be.
            value: name of the variable.
            certain: whether this place runs exactly once, before all places that are written later.

        Returns:
            An expression that is true if the value is accepted; or lines that set `_tn_ok`; or no lines
            where only validation can decide.
        """
        test = self._expression(spec, value, atomic=not (certain and isinstance(spec, ArraySpec)))
        result = test if test is not None else (self._lines(spec, value, depth=0) or [])
        self.scope.learn(axis_keys(spec), certain=certain and _always_binds(spec))
        return result

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
                # Tensors last: the other arms are faster and bind nothing.
                arms = sorted(spec.arms, key=lambda arm: isinstance(arm, ArraySpec))
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
        if get_origin(hint) is Literal and all(isinstance(choice, str) for choice in get_args(hint)):
            return f"(isinstance({value}, str) and {value} in {get_args(hint)!r})"
        # beartype cannot be traced, so these hints are not checked under torch.compile.
        matches = self.constant("matches", "hint", matches_hint)
        return f"(_tn_compiling() or {matches}({value}, {self.constant('hint', 'plain', hint)}))"

    def _array(self, spec: ArraySpec, value: str, *, atomic: bool) -> str | None:
        if not (isinstance(spec.array_type, type) and issubclass(spec.array_type, torch.Tensor)):
            return None
        shape = write_shape_guard(spec.axes, value, self.scope, atomic=atomic)
        if shape is None:
            return None
        terms = [f"isinstance({value}, {self.type_constant(spec.array_type)})", *shape.tests]
        dtypes = accepted_dtypes(spec.family)
        if dtypes != accepted_dtypes(Shaped):
            terms.append(self._dtype(spec.family.__name__, dtypes, value))
        return " and ".join(terms + shape.bindings)

    def _dtype(self, family: str, dtypes: frozenset[torch.dtype], value: str) -> str:
        usual = next((dtype for dtype in _USUAL_DTYPES if dtype in dtypes), None)
        tests: list[str] = []
        if usual is not None:
            tests.append(
                f"{value}.dtype is {self.constant('dtype', str(usual).removeprefix('torch.'), usual)}"
            )
        if len(dtypes) > len(tests):
            tests.append(f"{value}.dtype in {self.constant('dtypes', family, dtypes)}")
        return tests[0] if len(tests) == 1 else f"({' or '.join(tests)})"

    # Guards that need statements: containers

    def _lines(self, spec: Spec, value: str, depth: int) -> list[str] | None:
        """Write lines that set `_tn_ok`; None where only validation can decide."""
        test = self._expression(spec, value, atomic=True)
        if test is not None:
            self.scope.learn(axis_keys(spec), certain=False)
            return [f"_tn_ok = {test}"]
        item = f"_tn_item{depth}"
        match spec:
            case UnionSpec():
                return self._union_lines(spec, value, depth)
            case TupleSpec():
                test = f"isinstance({value}, tuple) and len({value}) == {len(spec.items)}"
                parts = [(f"{value}[{index}]", part) for index, part in enumerate(spec.items)]
                return self._part_lines(test, parts, item, depth)
            case FieldsSpec() if not spec.optional:
                test = f"isinstance({value}, {self.type_constant(spec.container)})"
                if spec.by_key:
                    test = " and ".join([test, *(f"{name!r} in {value}" for name, _ in spec.fields)])
                    parts = [(f"{value}[{name!r}]", part) for name, part in spec.fields]
                else:
                    parts = [(f"{value}.{name}", part) for name, part in spec.fields]
                return self._part_lines(test, parts, item, depth)
            case ItemsSpec():
                return self._loop_lines(spec, f"for {item} in {value}:", [(item, spec.item)], value, depth)
            case MappingSpec():
                parts = [(f"{item}_key", spec.key), (item, spec.value)]
                loop = f"for {item}_key, {item} in {value}.items():"
                return self._loop_lines(spec, loop, parts, value, depth)
            case _:
                return None

    def _part_lines(
        self, test: str, parts: list[tuple[str, Spec]], item: str, depth: int
    ) -> list[str] | None:
        lines = [f"_tn_ok = {test}"]
        for source, part in parts:
            inner = self._lines(part, item, depth + 1)
            if inner is None:
                return None
            lines += ["if _tn_ok:", *indented([f"{item} = {source}", *inner])]
        return lines

    def _loop_lines(
        self,
        spec: ItemsSpec | MappingSpec,
        loop: str,
        parts: list[tuple[str, Spec]],
        value: str,
        depth: int,
    ) -> list[str] | None:
        body: list[str] = []
        for name, part in parts:
            inner = self._lines(part, name, depth + 1)
            if inner is None:
                return None
            body += [*inner, "if not _tn_ok:", "    break"]
        container = self.type_constant(spec.container)
        return [
            f"_tn_ok = isinstance({value}, {container})",
            "if _tn_ok:",
            *indented([loop, *indented(body)]),
        ]

    def _union_lines(self, spec: UnionSpec, value: str, depth: int) -> list[str] | None:
        plain = tuple(arm for arm in spec.arms if isinstance(arm, PlainSpec))
        others = [arm for arm in spec.arms if arm not in plain]
        if len(others) != 1:
            return None  # an arm that fails halfway may have bound axes for the next one
        first = self._lines(UnionSpec(plain), value, depth)
        second = self._lines(others[0], value, depth + 1)
        if first is None or second is None:
            return None
        return [*first, "if not _tn_ok:", *indented(second)]
