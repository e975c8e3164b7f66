"""Write a traced size for a reader: `batch`, `784*batch`, `(height+3)//4`, or `?` if it depends on values."""

# sympy has no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

import re
from typing import Any

from sympy.printing.str import StrPrinter

from .._torch.tracing.shape_environment import is_floor_division, join_floor_divisions


class SizePrinter(StrPrinter):
    """Prints sizes as Python expressions without spaces: `784*batch`, `(height+3)//4`."""

    def doprint(self, expr: Any) -> str:
        """Format a size."""
        text = super().doprint(expr)
        return text[1:-1] if is_floor_division(expr) else text  # without torch's parentheses

    def _print(self, expr: Any, **kwargs: Any) -> str:
        text: str = super()._print(expr, **kwargs).replace(" ", "")
        # torch puts each floor division in parentheses, and sympy adds another pair.
        return re.sub(r"\(\(((?:[^()]|\([^()]*\))*)\)\)", r"(\1)", text)

    def _print_Symbol(self, expr: Any) -> str:  # noqa: N802
        return "?" if re.fullmatch(r"u\d+", expr.name) else expr.name  # depends on values


def axis_text(size: Any) -> str:
    """Format a resolved size: `batch`, `784*batch`, `(height+3)//4`."""
    return str(size) if isinstance(size, int | float) else SizePrinter().doprint(join_floor_divisions(size))
