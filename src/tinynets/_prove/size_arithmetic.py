"""How a size grows with one axis (floor division, modulo, maximum, minimum), and where a condition on it
starts to repeat, so that trying up to 20,000 sizes decides it.
"""

# sympy has no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy

LONGEST = 20_000  # sizes tried for one condition; conditions that repeat later are not decided


@dataclass(frozen=True)
class Growth:
    """A size as a straight line in an axis and something bounded beside it."""

    slope: Fraction  # of the line through 0
    low: Fraction  # the least that is beside the line
    high: Fraction  # the most
    period: int = 1  # after as many steps of the axis, what is beside the line repeats
    start: int = 0  # the axis from which on all of this holds

    def plus(self, other: Growth) -> Growth:
        """Return the growth of a sum."""
        return Growth(
            self.slope + other.slope,
            self.low + other.low,
            self.high + other.high,
            math.lcm(self.period, other.period),
            max(self.start, other.start),
        )

    def times(self, factor: Fraction) -> Growth:
        """Return the growth of a multiple."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Growth(self.slope * factor, low, high, self.period, self.start)

    @property
    def settled(self) -> int:
        """The size of the axis from which on the sign follows the slope, or only repeats."""
        if not self.slope:
            return self.start
        return max(self.start, math.floor(max(-self.low, self.high, Fraction(0)) / abs(self.slope)) + 1)


def growth(size: Any) -> Growth | None:
    """Return how a size grows with the one axis in it; None if it is not linear, such as `height**2`."""
    if size.is_Integer:
        return Growth(Fraction(0), Fraction(int(size)), Fraction(int(size)))
    if size.is_Symbol:
        return Growth(Fraction(1), Fraction(0), Fraction(0))
    if size.is_Mul:
        number, rest = size.as_coeff_Mul()
        line = growth(rest) if number != 1 else None
        return line.times(Fraction(int(number.numerator), int(number.denominator))) if line else None
    parts = [growth(part) for part in size.args]
    if None in parts or not parts:
        return None
    lines = [part for part in parts if part is not None]
    match size.func.__name__:
        case "Add":
            return functools.reduce(Growth.plus, lines)
        case "FloorDiv" | "CleanDiv":
            return _quotient(lines[0], size.args[1])
        case "Mod" | "PythonMod":
            quotient = _quotient(lines[0], size.args[1])
            top = Fraction(int(size.args[1]) - 1) if quotient else Fraction(0)
            return quotient and Growth(Fraction(0), Fraction(0), top, quotient.period, quotient.start)
        case "Max":
            return _largest(lines)
        case "Min":
            return _largest([line.times(Fraction(-1)) for line in lines]).times(Fraction(-1))
        case _:
            return None


def _quotient(line: Growth, divisor: Any) -> Growth | None:
    if not divisor.is_Integer or divisor <= 0:
        return None
    number = int(divisor)
    step = line.slope * line.period
    if step.denominator != 1:
        return None
    period = line.period * (number // math.gcd(number, int(step)))
    low = (line.low - (number - 1)) / number
    return Growth(line.slope / number, low, line.high / number, period, line.start)


def _largest(lines: list[Growth]) -> Growth:
    """Return the growth of a maximum: the steepest line eventually wins."""
    slope = max(line.slope for line in lines)
    steep = [line for line in lines if line.slope == slope]
    low, high = max(line.low for line in steep), max(line.high for line in steep)
    start = max(line.start for line in lines)
    for line in lines:
        if line.slope < slope:
            start = max(start, math.floor((line.high - low) / (slope - line.slope)) + 1)
    return Growth(slope, low, high, math.lcm(*(line.period for line in steep)), start)


def horizon(condition: Any) -> tuple[int, int] | None:
    """Return the size from which on a condition on one axis repeats, and its period; None if not known.

    A condition that holds up to the sum of the two holds for every size.
    """
    if condition in (sympy.true, sympy.false):
        return 0, 1
    if not condition.is_Relational:
        return None
    left, right = growth(condition.lhs), growth(condition.rhs)
    if left is None or right is None:
        return None
    difference = left.plus(right.times(Fraction(-1)))
    found = (difference.settled, 1 if difference.slope else difference.period)
    return found if sum(found) <= LONGEST else None


def normal(size: Any) -> Any:
    """Normalise floor divisions, so that equal sizes have equal forms: `(h-3)//2+1` and `(h-1)//2`."""
    if not size.args:
        return size
    size = size.func(*map(normal, size.args))
    if size.func.__name__ != "FloorDiv" or not size.args[1].is_Integer:
        return size
    number, rest = sympy.expand(size.args[0]).as_coeff_Add()
    divisor = size.args[1]
    if rest.func is size.func and rest.args[1].is_Integer:
        return normal(size.func(rest.args[0] + number * rest.args[1], rest.args[1] * divisor))
    if not number.is_Integer:
        return size
    return size.func(rest + number % divisor, divisor) + number // divisor
