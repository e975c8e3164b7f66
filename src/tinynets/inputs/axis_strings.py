"""Parse the shapes that callers and comments write (`batch 3 2*hidden`, commas, `int64[batch 77]`), align
them with the axes of a tensor, and evaluate their expressions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from .._contract.annotations.axes import Axes, Axis, AxisKind, parse_axis_string, parse_expression
from ..errors import UnsupportedAxesError


def parse_axes(text: str) -> Axes | None:
    """Parse an axis string, perhaps with commas: `batch, 3, 32, 32`; return None if it is not one."""
    try:
        return parse_axis_string(re.sub(r",(?![^(]*\))", " ", text))  # keep the commas in min(a,b)
    except UnsupportedAxesError:
        return None


def parse_shape(text: str) -> Axes | None:
    """Parse a shape that may name a dtype: `batch 77` or `int64[batch 77]`; return None if it is not one."""
    return parse_axes(text[text.find("[") + 1 :].rstrip("] "))


def aligned_axes(axes: Axes, rank: int) -> list[Axis] | None:
    """Return the token of every axis of a tensor of that rank; None if they are for another."""
    tokens = list(axes.axes)
    many = axes.many_index
    if many is not None:
        tokens[many : many + 1] = [Axis(AxisKind.ANY, "_")] * (rank - len(tokens) + 1)
    return tokens if len(tokens) == rank else None


def evaluate(axis: Axis, known: Mapping[str, Any]) -> Any:
    """Return the value of an expression such as `2*hidden`, or None if it cannot be evaluated."""
    try:
        tree = ast.fix_missing_locations(ast.Expression(parse_expression(axis.name).tree))
        return eval(compile(tree, "<axis>", "eval"), {"__builtins__": {"min": min, "max": max}}, dict(known))
    except Exception:  # a user's expression may raise anything
        return None
