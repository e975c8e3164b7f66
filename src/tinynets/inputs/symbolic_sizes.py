"""The sizes of one trace: named axes as symbols or numbers, a batch of 53, which axes stayed free or are tied
to one size, and torch's symbols renamed in messages.
"""

# sympy has no types. It is imported only for symbolic sizes: it takes longer than this whole package.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

import re
from typing import Any

import torch

from .._torch.tracing.shape_environment import (
    branches,
    conditions,
    expression_of,
    new_environment,
    new_size,
)

# The size of the leading axis in a trace or a proof. No other axis of a model has it, so no comparison of
# sizes holds by chance, which would tie the batch to a number. It is small because a loop may run over it.
UNUSUAL_SIZE = 53


class Sizes:
    """The sizes of one trace.

    If `symbolic`, named axes are symbols instead of numbers. If `unusual`, leading axes are traced with a
    size that no other axis of a model has.
    """

    def __init__(self, *, symbolic: bool, unusual: bool = True) -> None:
        self.unusual = unusual
        self.values: dict[str, int] = {}
        self.measured: dict[str, int] = {}  # the sizes of declared axis names in the trace
        self.chosen: list[str] = []  # axes whose size was not given
        self.environment = new_environment() if symbolic else None
        self._made: dict[str, Any] = {}
        self._names: dict[Any, Any] = {}  # torch's symbol -> symbol with the axis name

    def make(self, name: str, value: int, *, leading: bool = False, symbolic: bool = True) -> Any:
        """Return the size of a named axis, always the same for one name.

        It is a symbol, if the sizes are, and unless `symbolic` is false. A leading axis is the first of its
        tensor, and may have any size.
        """
        if name not in self._made:
            self.values[name] = self._made[name] = value
            if self.environment is not None and symbolic:
                hint = UNUSUAL_SIZE if leading and self.unusual else value
                import sympy

                symbol, self._made[name] = new_size(self.environment, f"axis_{name}", hint)
                self._names[symbol] = sympy.Symbol(name, integer=True, positive=True)
        return self._made[name]

    def resolve(self, size: Any) -> Any:
        """Return a size as a number or an expression over axis names, with the equalities of the trace."""
        if isinstance(size, torch.SymInt | torch.SymFloat):
            size = expression_of(size)
        if isinstance(size, int | float) or self.environment is None:
            return size
        replacements = self.environment.replacements
        for _ in range(4):
            if not (getattr(size, "free_symbols", set()) & set(replacements)):
                break
            size = size.xreplace(replacements)
        size = size.xreplace(self._names)
        return int(size) if size.is_Integer else size

    def conditions(self) -> list[Any]:
        """Return the conditions over axis names that shapes depend on, None for other conditions."""
        found = [] if self.environment is None else conditions(self.environment)
        return [None if each is None else each.xreplace(self._names) for each in found]

    @property
    def axes(self) -> list[str]:
        """The names of the axes that were made symbols."""
        return [str(name) for name in self._names.values()]

    @property
    def count(self) -> int:
        """The number of conditions so far."""
        return 0 if self.environment is None else len(self.environment.guards)

    def number(self, size: Any) -> int | None:
        """Return the value of a resolved size, or None if it depends on the values of tensors."""
        if isinstance(size, int | float):
            return int(size)
        import sympy

        known = {symbol: sympy.Integer(self.values[str(symbol)]) for symbol in self._names.values()}
        value = size.xreplace(known)
        return int(value) if value.is_number else None

    def free_axes(self) -> list[str]:
        """Return the names of the axes that stayed symbols."""
        fixed = self.fixed_axes()
        return [str(name) for name in self._names.values() if str(name) not in fixed]

    def fixed_axes(self) -> list[str]:
        """Return the names of the axes that the model ties to one number."""
        replacements = self.environment.replacements if self.environment is not None else {}
        return [
            str(name)
            for symbol, name in self._names.items()
            if getattr(replacements.get(symbol), "is_Integer", False)
        ]

    def same_branches(self) -> bool:
        """Return whether the model would have taken the same branches with the sizes that were given."""
        import sympy

        given = {
            symbol: sympy.Integer(self.values[str(name)])
            for symbol, name in self._names.items()
            if str(name) not in self.chosen
        }
        # The size of a chosen axis is arbitrary, so conditions on it are kept.
        conditions = branches(self.environment) if self.environment is not None else []
        known = [condition for condition in conditions if condition.free_symbols <= set(given)]
        return not any(condition.xreplace(given) == sympy.false for condition in known)

    def rename(self, text: str) -> str:
        """Replace torch's symbols in a message with axis names."""
        for symbol, name in self._names.items():
            text = re.sub(rf"\b{symbol}\b", str(name), text)
        return text
