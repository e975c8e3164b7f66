"""Load the templates under `assets/` (HTML, SVG, CSS, JavaScript): the hues of axis names, the filters, and
formulas in a form that the script of the page can compute for new sizes.
"""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING, Any

from . import facts
from .json_markdown import run_markdown

if TYPE_CHECKING:
    import jinja2

# Hues far apart, so that neighbours differ.
_HUES = (210, 0, 130, 280, 35, 180, 325, 90, 250, 55)
# What the script of the page can compute.
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Pow, ast.FloorDiv, ast.Mod)


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2  # lazy, to keep `import tinynets` fast

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__ or "", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    filters: dict[str, Any] = {"markdown": run_markdown, "tree": tree}
    environment.filters.update(filters)
    values: dict[str, Any] = {"facts": facts, "hues": _HUES}
    environment.globals.update(values)
    return environment


def render(template: str, /, **values: Any) -> str:
    """Fill a template; every value is escaped."""
    return _environment().get_template(template).render(values)


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
