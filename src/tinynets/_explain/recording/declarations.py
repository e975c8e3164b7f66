"""Compare the shapes that lines declare with the actual ones: the verdicts `=` and `≠`, the size that each
declared name is bound to, and the shape in the declared names.
"""

# sympy has no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sympy

from ..._contract.annotations.axes import Axis, AxisKind
from ..._prove.conditions import condition
from ..._torch.tracing.shape_environment import with_floor_divisions
from ...inputs.axis_strings import aligned_axes, evaluate, parse_axes
from ...inputs.size_text import axis_text
from ...inputs.symbolic_sizes import Sizes
from ..records import Verdict


@dataclass
class Declarations:
    """The axis names of one call, each bound to the first size it met."""

    sizes: Sizes
    owner: Any  # the module, whose int attributes are axes
    module_axes: frozenset[str]  # names of those attributes
    measured: dict[str, int] | None  # receives the number of each name
    bound: dict[str, Any] = field(default_factory=dict[str, Any])

    def compare(self, text: str, shape: tuple[Any, ...]) -> tuple[Verdict, tuple[str, ...]]:
        """Return the verdict on a shape, and one text per axis: as declared if it fits, else as measured."""
        measured = tuple(axis_text(size) for size in shape)
        axes = parse_axes(text)
        if axes is None:
            return "", measured
        tokens = aligned_axes(axes, len(shape))
        if tokens is None:
            return "≠", measured
        fits = [self._fits(axis, size) for axis, size in zip(tokens, shape, strict=True)]
        if not all(fits):
            return "≠", measured
        written = tuple(
            axis.text if axis.kind in (AxisKind.NAMED, AxisKind.EXPRESSION) and not axis.broadcast else size
            for axis, size in zip(tokens, measured, strict=True)
        )
        return "=", written

    def _fits(self, axis: Axis, size: Any) -> bool:
        if axis.broadcast and size == 1:
            return True
        expected: Any = None
        match axis.kind:
            case AxisKind.FIXED:
                expected = axis.size
            case AxisKind.EXPRESSION:
                attributes = {name: getattr(self.owner, name, None) for name in self.module_axes}
                expected = evaluate(axis, {**attributes, **self.bound, "self": self.owner})
            case AxisKind.NAMED:
                attribute = getattr(self.owner, axis.name, None) if axis.name in self.module_axes else None
                expected = attribute if isinstance(attribute, int) else self.bound.setdefault(axis.name, size)
            case _:
                return True
        fits = expected is None or _same_size(expected, size, self.sizes)
        number = self.sizes.number(size)
        if fits and self.measured is not None and axis.kind is AxisKind.NAMED and number is not None:
            self.measured.setdefault(axis.name, number)
        return fits


def _same_size(first: Any, second: Any, sizes: Sizes) -> bool:
    """Return whether two resolved sizes are equal for all sizes of the axes."""
    if first == second:
        return True
    if isinstance(first, int) and isinstance(second, int):
        return False
    difference: Any = sympy.expand(sympy.sympify(first) - sympy.sympify(second))
    if difference == 0:
        return True
    both = (with_floor_divisions(sympy.sympify(size)) for size in (first, second))
    equal = condition(sympy.Eq(*both, evaluate=False))
    if equal.axes and equal.decided:
        return equal.always
    symbols = [getattr(size, "free_symbols", set[Any]()) for size in (first, second)]
    # Rounded quotients have no normal form: compare them at the current sizes.
    return (
        symbols[0] == symbols[1] and bool(difference.atoms(sympy.Function)) and not sizes.number(difference)
    )
