"""MACs and bytes as formulas over the axes, and how a formula is written: `200,704·batch`, `tokens²`, `KiB`;
short numbers for a column are in `render/short_numbers.py`.
"""

# Sizes are ints or sympy expressions, which have no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import sympy
from sympy.printing.precedence import PRECEDENCE

from ..._torch.tracing.shape_environment import expression_of
from ...inputs.size_text import SizePrinter, axis_text
from ...inputs.symbolic_sizes import Sizes
from ..records import Amount

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

# The factors of a product that are not plain numbers. Sums of products are kept as counters, since torch's
# symbolic arithmetic would cost more than the rest of the trace.
Product = tuple[Any, ...]


def product(sizes: Iterable[Any]) -> Counter[Product]:
    """Return the product of sizes, each a number or a symbol of torch."""
    number, factors = 1, list[Any]()
    for size in sizes:
        if isinstance(size, int):
            number *= size
        else:
            factors.append(expression_of(size))
    return Counter({tuple(factors): number})


def amount(costs: Iterable[Counter[Product]], sizes: Sizes, *, unit: str = "") -> Amount:
    """Add up costs; `unit="B"` writes bytes."""
    sums = Counter[Product]()
    for cost in costs:
        sums.update(cost)
    total: Any = 0
    for factors, number in sums.items():
        term: Any = number
        for factor in factors:
            term = term * sizes.resolve(factor)
        total = total + term
    return Amount(_formula(total, unit), sizes.number(total), axis_text(total))


def human(count: float, unit: str = "") -> str:
    """Write a number: `2 KiB` for bytes, else with commas."""
    if unit != "B":
        return f"{count:,.0f}" if count == int(count) else f"{count:,}"
    power = 0
    while abs(count) >= 1024 and power < len(_UNITS) - 1:
        count, power = count / 1024, power + 1
    return f"{count:.4g} {_UNITS[power]}"


def _formula(size: Any, unit: str) -> str:
    if isinstance(size, int | float):
        return human(size, unit)
    terms: dict[Any, Any] = dict(sympy.expand(size).as_coefficients_dict())
    text = ""
    for factor, coefficient in sorted(terms.items(), key=lambda term: -len(term[0].free_symbols)):
        number = human(float(coefficient), unit)
        part = number if factor == 1 else f"{number}·{_FormulaPrinter().doprint(factor)}"
        text += f" - {part[1:]}" if text and part[0] == "-" else f" + {part}" if text else part
    return text


class _FormulaPrinter(SizePrinter):
    """Write products for people: `batch·tokens²`."""

    def _print(self, expr: Any, **kwargs: Any) -> str:
        return super()._print(expr, **kwargs).replace("*", "·")

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:  # noqa: N802
        if expr.exp.is_Integer and expr.exp > 1:
            base = self.parenthesize(expr.base, PRECEDENCE["Pow"])
            return f"{base}{str(expr.exp).translate(_SUPERSCRIPTS)}"
        return super()._print_Pow(expr, rational)
