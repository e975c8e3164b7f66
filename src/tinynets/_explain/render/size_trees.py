"""Sizes for the script of the page: `(tokens+3)//4` as nested lists."""

from __future__ import annotations

import ast
from typing import Any

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Pow, ast.FloorDiv, ast.Mod)


def tree(expression: str) -> Any:
    """Return an expression such as `(tokens+3)//4` as nested lists, which the script can compute.

    Returns:
        A number, the name of an axis, `[operator, part, ...]`, or None if the script cannot compute it.
    """
    try:
        return _tree(ast.parse(expression, mode="eval").body)
    except (SyntaxError, LookupError):
        return None


def _tree(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return name
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return ["Sub", 0, _tree(operand)]
        case ast.BinOp(left=left, op=operator, right=right) if isinstance(operator, _OPERATORS):
            return [type(operator).__name__, _tree(left), _tree(right)]
        case ast.Call(func=ast.Name(id="Max" | "Min" | "Mod" as name), args=arguments):
            return [name, *map(_tree, arguments)]
        case _:
            raise LookupError(ast.unparse(node))
