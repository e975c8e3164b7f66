"""Conditions on the sizes of named axes: which always hold and are dropped, how they are split and merged,
and their text, such as `height % 4 == 0` or `tokens <= 512`.
"""

# sympy has no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import sympy

from .._torch.tracing.shape_environment import function_of
from ..inputs.size_text import axis_text
from .size_arithmetic import LONGEST, growth, horizon, normal

SMALLEST = 2  # torch specialises 0 and 1: symbols are for larger sizes
_SIGNS = {"Eq": "==", "Ne": "!="}


class Condition:
    """A condition on the sizes of some axes.

    Attributes:
        axes: the names of the axes.
        leaves: the comparisons in the condition.
        decided: whether each comparison is on one axis and periodic, so that finitely many sizes decide it.
    """

    def __init__(self, expression: Any) -> None:
        self.expression = expression
        symbols = sorted(expression.free_symbols, key=str)
        self.axes = tuple(map(str, symbols))
        self._test: Callable[..., Any] = function_of(expression, symbols)
        if expression.func in (sympy.And, sympy.Or, sympy.Not):
            parts = [condition(part) for part in expression.args if part.free_symbols]
            self.leaves: tuple[Condition, ...] = tuple(leaf for part in parts for leaf in part.leaves)
            self.decided = all(part.decided for part in parts)
        else:
            found = horizon(expression) if len(self.axes) == 1 else None
            self.start, self.period = found or (0, 0)
            self.leaves, self.decided = (self,), found is not None

    def until(self, axis: str) -> int:
        """Return the size below which all sizes of an axis are tried: several periods, to show the step."""
        return until([leaf for leaf in self.leaves if leaf.axes == (axis,)])

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Return whether the condition holds for these sizes."""
        return bool(self._test(*(sizes[axis] for axis in self.axes)))

    @property
    def atom(self) -> str:
        """The comparison that it asserts or negates, as text."""
        return min(str(self.expression), str(sympy.Not(self.expression)))

    @property
    def positive(self) -> bool:
        """Whether it asserts its atom instead of negating it."""
        return str(self.expression) == self.atom

    @property
    def always(self) -> bool:
        """Whether it is proved to hold for all sizes from 2 on."""
        if self.decided:
            ranges = [range(SMALLEST, self.until(axis)) for axis in self.axes]
            every = itertools.product(*ranges)
            return math.prod(map(len, ranges)) <= LONGEST and all(self._test(*sizes) for sizes in every)
        expression = self.expression
        if not expression.is_Relational:
            return False
        if expression.rel_op in (">", ">=", "!=") and expression.rhs.is_Integer:
            least = _least(expression.lhs)
            return least is not None and least > int(expression.rhs)
        if expression.rel_op not in ("==", "<=", ">="):
            return False
        return sympy.expand(normal(expression.lhs) - normal(expression.rhs)) == 0

    @property
    def text(self) -> str:
        """The condition in the names of the axes: `height % 4 == 0`."""
        described = _described([self]) if self.decided and len(self.axes) == 1 else None
        return _text(self.expression) if described is None else " and ".join(described)


def until(leaves: Iterable[Condition]) -> int:
    """Return the size below which all sizes are tried for several comparisons of one axis with numbers."""
    leaves = [leaf for leaf in leaves if leaf.decided]
    start = max((leaf.start for leaf in leaves), default=0)
    return max(SMALLEST, start) + 4 * math.lcm(*(leaf.period for leaf in leaves))


@cache
def condition(expression: Any) -> Condition:
    """Return the condition of an expression, the same object for equal expressions."""
    return Condition(expression)


def needed(expressions: Iterable[Any]) -> list[Condition]:
    """Return the conditions that must hold: each once, without those that always hold."""
    parts = (part for each in expressions if each is not None for part in separated(each))
    found = [condition(each) for each in dict.fromkeys(parts) if each != sympy.true]
    return [each for each in found if each.axes and not each.always]


def separated(expression: Any) -> list[Any]:
    """Split a condition into an equivalent list of conditions, on single axes where possible."""
    if expression.func is sympy.And:
        return [part for each in expression.args for part in separated(each)]
    if len(expression.free_symbols) < 2 or not expression.is_Relational:
        return [expression]
    if expression.rel_op == "!=":
        if expression.rhs == 0:
            factors = _factors(expression.lhs)
            return [sympy.Ne(factor, 0) for factor in factors.values() if factor.free_symbols]
        return [sympy.Or(*map(sympy.Not, _equal_factors(sympy.Not(expression))))]
    return _equal_factors(expression) if expression.rel_op == "==" else [expression]


def _factors(product: Any) -> dict[Any, Any]:
    """Group the factors of a product by the symbols that they depend on."""
    found: dict[Any, Any] = {}
    for factor in sympy.Mul.make_args(product):
        key = frozenset(factor.free_symbols)
        found[key] = found.get(key, 1) * factor
    return found


def _equal_factors(expression: Any) -> list[Any]:
    """Split `height*width == 16*(height//4)*(width//4)`, if no factor on the right can be larger."""
    none = frozenset[Any]()
    left, right = _factors(expression.lhs), _factors(expression.rhs)
    keys = [key for key in dict.fromkeys((*left, *right)) if key and left.get(key) != right.get(key)]
    if not all(len(key) == 1 and key in left for key in keys):
        return [expression]
    ratios = [_ratio(left[key], right.get(key)) for key in keys]
    if math.prod(ratios) != Fraction(int(right.get(none, 1)), int(left.get(none, 1))):
        return [expression]
    pairs = [
        (left[key] * ratio.denominator, right.get(key, sympy.Integer(1)) * ratio.numerator)
        for key, ratio in zip(keys, ratios, strict=True)
    ]
    bounds = [bound for a, b in pairs for bound in (sympy.Ge(a, b), sympy.Gt(a, 0), sympy.Ge(b, 0))]
    if not all(bound == sympy.true or (bound != sympy.false and condition(bound).always) for bound in bounds):
        return [expression]
    return [sympy.Eq(a, b) for a, b in pairs]


def _least(product: Any) -> int | None:
    """Return the smallest value of a product of sizes, or None if that is not known."""
    least = 1
    for factor in _factors(product).values():
        line, symbols = growth(factor), list(factor.free_symbols)
        end = SMALLEST + 1 if line is None or not symbols else max(SMALLEST, line.start) + line.period
        if line is None or line.slope < 0 or len(symbols) > 1 or end > LONGEST:
            return None
        numbers = map(sympy.Integer, range(SMALLEST, end))
        least *= min(int(factor.xreplace(dict.fromkeys(symbols, number))) for number in numbers)
        if least < 0:
            return None
    return least


def _ratio(left: Any, right: Any) -> Fraction:
    """Return the ratio of the growth of the left factor to the right one, 1 if there is no right one."""
    a, b = growth(left), None if right is None else growth(right)
    if right is None:
        return Fraction(1)
    return a.slope / b.slope if a and b and b.slope else Fraction(0)


def described_sizes(axis: str, found: list[int], until: int) -> list[str] | None:
    """Describe the sizes from 2 on that an axis may have; None if they follow no simple rule.

    Those below `until` are given in order; above it, all goes on as before.
    """
    if not found:
        return None
    if len(found) == 1 and found[0] < until - 1:
        return [f"{axis} == {found[0]}"]
    step = math.gcd(*(b - a for a, b in itertools.pairwise(found))) if len(found) > 1 else 1
    least, most = found[0], found[-1]
    if found != list(range(least, most + 1, step)):
        gaps = [size for size in range(SMALLEST, until) if size not in found]
        return [f"{axis} != {size}" for size in gaps] if len(gaps) < 3 and gaps[-1] < until - 1 else None
    texts: list[str] = []
    if step > 1:
        texts.append(f"{axis} % {step} == {least % step}")
    if least - step >= SMALLEST:
        texts.append(f"{axis} >= {least}")
    if most + step < until:
        texts.append(f"{axis} <= {most}")
    return texts


def together(conditions: Iterable[Condition]) -> list[str]:
    """Return several conditions as texts, with those on one axis merged."""
    texts: dict[str, None] = {}
    conditions = list(conditions)
    for each in conditions:
        same = [c for c in conditions if c.decided and c.axes == each.axes] if len(each.axes) == 1 else []
        described = _described(same) if each.decided and same else None
        texts.update(dict.fromkeys([each.text] if described is None else described))
    return list(texts)


def _described(conditions: list[Condition]) -> list[str] | None:
    """Describe the sizes of their one axis for which all of some conditions hold."""
    (axis,) = conditions[0].axes
    end = until(leaf for each in conditions for leaf in each.leaves)
    found = [size for size in range(SMALLEST, end) if all(each.holds({axis: size}) for each in conditions)]
    return described_sizes(axis, found, end)


def _text(expression: Any) -> str:
    if expression.is_Relational:
        left, right = axis_text(expression.lhs), axis_text(expression.rhs)
        return f"{left} {_SIGNS.get(expression.rel_op, expression.rel_op)} {right}"
    if expression.func in (sympy.And, sympy.Or):
        word = " and " if expression.func is sympy.And else " or "
        return word.join(f"({_text(part)})" for part in expression.args)
    return str(expression)
