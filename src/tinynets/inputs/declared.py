"""Whether what a line declares is what the line made."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._contract.annotations.axes import Axes, Axis, AxisKind, parse_axis_string, parse_expression
from .._explain.records import Verdict
from ..errors import UnsupportedAxesError
from .sizes import Sizes, axis_text, same_size


def parse_axes(text: str) -> Axes | None:
    """Parse an axis string; None if it is not one."""
    try:
        return parse_axis_string(text)
    except UnsupportedAxesError:
        return None


def evaluate(axis: Axis, known: Mapping[str, Any]) -> Any:
    """Return the size that an expression such as `2*hidden` comes to, or None if a name is not known."""
    try:
        tree = ast.fix_missing_locations(ast.Expression(parse_expression(axis.name).tree))
        return eval(compile(tree, "<axis>", "eval"), {"__builtins__": {"min": min, "max": max}}, dict(known))
    except Exception:  # whatever the user's expression does: it cannot be decided here
        return None


@dataclass
class Declarations:
    """The axis names of one call: what each was bound to where it was first seen.

    Args:
        sizes: the sizes of the trace.
        owner: the module, whose int attributes are axes.
        module_axes: names of those attributes.
        measured: where to note what each name comes to, or None.
    """

    sizes: Sizes
    owner: Any
    module_axes: frozenset[str] = frozenset()
    measured: dict[str, int] | None = None
    bound: dict[str, Any] = field(default_factory=dict[str, Any])

    def known(self) -> dict[str, Any]:
        """Everything that an expression may name."""
        attributes = {name: getattr(self.owner, name, None) for name in self.module_axes}
        return {**attributes, **self.bound, "self": self.owner}

    def judge(self, text: str, shape: tuple[Any, ...]) -> tuple[Verdict, tuple[str, ...]]:
        """Compare an axis string with a shape.

        Returns:
            The verdict, and one text for each axis: as declared where it fits, as measured where not.
        """
        measured = tuple(axis_text(size) for size in shape)
        axes = parse_axes(text)
        if axes is None:
            return "", measured
        tokens = list(axes.axes)
        many = axes.many_index
        if many is not None:
            missing = len(shape) - (len(tokens) - 1)
            tokens[many : many + 1] = [Axis(AxisKind.ANY, "_")] * max(missing, 0)
        if len(tokens) != len(shape) or (many is not None and len(axes.axes) - 1 > len(shape)):
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
                expected = evaluate(axis, self.known())
            case AxisKind.NAMED:
                attribute = getattr(self.owner, axis.name, None) if axis.name in self.module_axes else None
                expected = attribute if isinstance(attribute, int) else self.bound.setdefault(axis.name, size)
            case _:
                return True
        fits = expected is None or same_size(expected, size, self.sizes)
        number = self.sizes.number(size)
        if fits and self.measured is not None and axis.kind is AxisKind.NAMED and number is not None:
            self.measured.setdefault(axis.name, number)
        return fits
