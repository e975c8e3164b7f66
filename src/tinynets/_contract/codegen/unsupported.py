"""Reject, when a function is defined, code that could not be checked: `:=` on a declared name, `yield from`,
a yield in an expression, inner functions with tensor annotations, names that begin with `_tn_`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Container
from typing import Any, NoReturn

from jaxtyping import AnnotationError

from ..annotations.parse_hints import has_tensors
from .syntax import own_expressions


def raise_unsupported(title: str, node: ast.AST, reason: str) -> NoReturn:
    """Raise AnnotationError with the name of the function and the line."""
    raise AnnotationError(f"{title}, line {getattr(node, 'lineno', '?')}: {reason}")


def hidden_assignment(
    statement: ast.stmt, declared: Container[str], *, yields_tensors: bool
) -> tuple[ast.AST, str] | None:
    """Return an assignment or yield inside an expression, where no check can be inserted, and the remedy."""
    direct = getattr(statement, "value", None)
    for node in own_expressions(statement):
        if isinstance(node, ast.NamedExpr) and node.target.id in declared:
            name = node.target.id
            return node, f"{name} is declared and assigned by `:=`; assign it on its own line"
        if yields_tensors and isinstance(node, ast.YieldFrom):
            return node, "the items of `yield from` cannot be checked; write `for item in ...: yield item`"
        if yields_tensors and isinstance(node, ast.Yield) and node is not direct:
            return node, "the yield is inside an expression; give it a line of its own"
    return None


def reject_reserved_names(title: str, node: ast.AST, text: str) -> None:
    """Raise AnnotationError if a name in a function, given with its source text, begins with `_tn_`."""
    if "_tn_" not in text:
        return
    for inner in ast.walk(node):
        names = [getattr(inner, field, None) for field in ("id", "arg", "name", "asname")]
        for name in names:
            if isinstance(name, str) and name.startswith("_tn_"):
                raise_unsupported(
                    title, inner, f"names that begin with `_tn_` are kept for the checks; rename {name!r}"
                )


def reject_unchecked_inner(
    title: str,
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
    resolve: Callable[[ast.expr], Any],
    is_contract: Callable[[ast.expr], bool],
) -> None:
    """Raise AnnotationError if an inner function has tensor annotations and no `contract` to enforce them."""
    for inner in ast.walk(node):
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if any(is_contract(decorator) for decorator in inner.decorator_list):
            continue
        hints = [inner.returns, *(a.annotation for a in ast.walk(inner.args) if isinstance(a, ast.arg))]
        hints += [line.annotation for line in ast.walk(inner) if isinstance(line, ast.AnnAssign)]
        if any(hint is not None and _has_tensors(hint, resolve) for hint in hints):
            raise_unsupported(
                title,
                inner,
                f"the annotations of the inner function {inner.name!r} would not be enforced; "
                "decorate it with @tinynets.contract, or move it out of the method",
            )


def _has_tensors(annotation: ast.expr, resolve: Callable[[ast.expr], Any]) -> bool:
    try:
        return has_tensors(resolve(annotation))
    except AnnotationError:
        return False  # uses names of the outer function, so it is not a tensor annotation
