"""Sizes of a traced tensor: numbers, or expressions over named axes such as `784*batch`."""

# sympy and the symbolic shapes of torch have no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportPrivateUsage=false
from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any

import sympy
import torch

from .._explain.records import Amount

# What the leading axis measures while it is traced: a size that no model has for another axis, so that no
# comparison holds by chance and ties the batch to a number; and not more, since a loop may run over it.
_UNUSUAL = 53
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


# The factors of a product that are not plain numbers. Sums of products are kept as counters, since torch's
# symbolic arithmetic would cost more than the rest of the trace.
Product = tuple[Any, ...]


def product(sizes: list[Any]) -> Counter[Product]:
    """Return the product of sizes, each a number or a symbol of torch."""
    number, factors = 1, list[Any]()
    for size in sizes:
        if isinstance(size, int):
            number *= size
        else:
            factors.append(size.node.expr)
    return Counter({tuple(factors): number})


class Sizes:
    """The sizes of one trace.

    Args:
        symbolic: whether named axes are symbols; else they are numbers with no name.
        unusual: whether leading axes measure something that no model has for another axis.
    """

    def __init__(self, *, symbolic: bool, unusual: bool = True) -> None:
        self.unusual = unusual
        self.values: dict[str, int] = {}
        self.measured: dict[str, int] = {}  # what the axis names of declarations came to
        self.chosen: list[str] = []  # axes whose size nobody gave
        self.environment: Any = None
        if symbolic:
            from torch.fx.experimental.symbolic_shapes import ShapeEnv  # which takes seconds

            self.environment = ShapeEnv(
                specialize_zero_one=False,
                duck_shape=False,
                allow_scalar_outputs=True,
                allow_dynamic_output_shape_ops=True,
            )
        self._made: dict[str, Any] = {}
        self._names: dict[Any, Any] = {}  # torch's symbol -> symbol with the axis name

    def make(self, name: str, value: int, *, leading: bool = False, symbolic: bool = True) -> Any:
        """Return the size of a named axis: the same for the same name.

        Args:
            name: of the axis.
            value: its size.
            leading: whether it is the first axis of its tensor, which any number fits.
            symbolic: whether it is a symbol if sizes are; else it is a number with a name.
        """
        if name in self._made:
            return self._made[name]
        self.values[name] = value
        if self.environment is None or not symbolic:
            self._made[name] = value
            return value
        from torch._dynamo.source import ConstantSource
        from torch.fx.experimental.symbolic_shapes import DimDynamic

        source = ConstantSource(f"axis_{name}")
        hint = _UNUSUAL if leading and self.unusual else value
        symbol = self.environment.create_symbol(
            hint,
            source,
            dynamic_dim=DimDynamic.DYNAMIC,
            constraint_dim=None,
            do_not_specialize_zero_one=True,
        )
        self._names[symbol] = sympy.Symbol(name, integer=True, positive=True)
        self._made[name] = self.environment.create_symintnode(symbol, hint=hint, source=source)
        return self._made[name]

    def final(self, size: Any) -> Any:
        """Return a size as a number or an expression over axis names, with all that the trace found out."""
        if isinstance(size, torch.SymInt | torch.SymFloat):
            size = size.node.expr
        if isinstance(size, int | float) or self.environment is None:
            return size
        replacements = self.environment.replacements
        for _ in range(4):
            if not (getattr(size, "free_symbols", set()) & set(replacements)):
                break
            size = size.xreplace(replacements)
        size = size.xreplace(self._names)
        return int(size) if size.is_Integer else size

    def total(self, sums: Counter[Product]) -> Any:
        """Return a sum of products as one final size."""
        result: Any = 0
        for factors, number in sums.items():
            term: Any = number
            for factor in factors:
                term = term * self.final(factor)
            result = result + term
        return result

    def number(self, size: Any) -> int | None:
        """Return what a final size comes to."""
        if isinstance(size, int | float):
            return int(size)
        known = {symbol: sympy.Integer(self.values[str(symbol)]) for symbol in self._names.values()}
        value = size.xreplace(known)
        return int(value) if value.is_number else None

    def free_axes(self) -> list[str]:
        """Names of axes that stayed symbols."""
        fixed = self.fixed_axes()
        return [str(name) for name in self._names.values() if str(name) not in fixed]

    def fixed_axes(self) -> list[str]:
        """Names of axes that the model has tied to one number."""
        environment = self.environment
        if environment is None:
            return []
        return [
            str(name)
            for symbol, name in self._names.items()
            if symbol in environment.replacements and environment.replacements[symbol].is_Integer
        ]

    def hold(self) -> bool:
        """Whether the model would have taken the same branches with the sizes that were given."""
        guards: list[Any] = self.environment.guards if self.environment is not None else []
        given = {
            symbol: sympy.Integer(self.values[str(name)])
            for symbol, name in self._names.items()
            if str(name) not in self.chosen
        }
        # An axis whose size nobody gave may be any, so what was compared with it stays as it was.
        # Which library would compute a convolution is no branch of the model's.
        known = [
            guard.expr
            for guard in guards
            if guard.expr.free_symbols <= set(given) and not _chooses_kernel(guard)
        ]
        return not any(expression.xreplace(given) == sympy.false for expression in known)

    def amount(self, size: Any, *, unit: str = "") -> Amount:
        """Return a final size as an amount; `unit="B"` writes bytes."""
        return Amount(_formula(size, unit), self.number(size), axis_text(size))

    def rename(self, text: str) -> str:
        """Put axis names into a message in which torch names its symbols."""
        for symbol, name in self._names.items():
            text = re.sub(rf"\b{symbol}\b", str(name), text)
        return text


def _chooses_kernel(guard: Any) -> bool:
    frame = getattr(getattr(guard, "sloc", None), "framework_loc", None)
    return os.path.basename(getattr(frame, "filename", "")) == "fake_impls.py"


def axis_text(size: Any) -> str:
    """Write a final size: `batch`, `784*batch`, `(height+3)//4`."""
    text = str(size).replace(" ", "")
    text = re.sub(r"\bu\d+\b", "?", text)
    while text.startswith("(") and text.endswith(")") and _closes_at_end(text):
        text = text[1:-1]
    return text


def same_size(first: Any, second: Any, sizes: Sizes) -> bool:
    """Whether two final sizes are equal, whatever the axes measure."""
    if first == second:
        return True
    if isinstance(first, int) and isinstance(second, int):
        return False
    difference: Any = sympy.expand(sympy.sympify(first) - sympy.sympify(second))
    if difference == 0:
        return True
    symbols = [getattr(size, "free_symbols", set[Any]()) for size in (first, second)]
    # Rounded quotients have no normal form: then the sizes at hand decide.
    return (
        symbols[0] == symbols[1] and bool(difference.atoms(sympy.Function)) and not sizes.number(difference)
    )


def human(count: float, unit: str = "") -> str:
    """Write a number: `2 KiB` for bytes, else with commas."""
    if unit != "B":
        return f"{count:,.0f}" if count == int(count) else f"{count:,}"
    for name in _UNITS:
        if abs(count) < 1024 or name == _UNITS[-1]:
            return f"{count:.4g} {name}"
        count /= 1024
    return ""


def _formula(size: Any, unit: str) -> str:
    if isinstance(size, int | float):
        return human(size, unit)
    terms: dict[Any, Any] = dict(sympy.expand(size).as_coefficients_dict())
    parts: list[str] = []
    for factor, coefficient in sorted(terms.items(), key=lambda term: -len(term[0].free_symbols)):
        number = human(float(coefficient), unit)
        parts.append(number if factor == 1 else f"{number}·{_product(factor)}")
    return " + ".join(parts).replace("+ -", "- ")


def _product(factor: Any) -> str:
    return axis_text(factor).replace("**2", "²").replace("**3", "³").replace("*", "·")


def _closes_at_end(text: str) -> bool:
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return index == len(text) - 1
    return False
