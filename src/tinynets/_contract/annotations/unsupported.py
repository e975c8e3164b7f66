"""What cannot be checked is refused when the function is defined, never left unchecked."""

from __future__ import annotations

import ast
from collections.abc import Callable, Container
from typing import Any, NoReturn

from jaxtyping import AnnotationError

from ..codegen.syntax import own_expressions
from .parse_hints import has_tensors


def refuse(title: str, node: ast.AST, reason: str) -> NoReturn:
    """Raise AnnotationError with the name of the function and the line."""
    raise AnnotationError(f"{title}, line {getattr(node, 'lineno', '?')}: {reason}")


def refuse_hidden(title: str, statement: ast.stmt, declared: Container[str], *, yields_tensors: bool) -> None:
    """Refuse assignments and yields inside expressions: no line could stand behind them.

    Raises:
        AnnotationError: there is one; the message says what to write instead.
    """
    direct = getattr(statement, "value", None)
    for node in own_expressions(statement):
        if isinstance(node, ast.NamedExpr) and node.target.id in declared:
            name = node.target.id
            refuse(title, node, f"{name} is declared and assigned by `:=`; assign it on its own line")
        if yields_tensors and isinstance(node, ast.YieldFrom):
            remedy = "write `for item in ...: yield item`"
            refuse(title, node, f"the items of `yield from` cannot be checked; {remedy}")
        if yields_tensors and isinstance(node, ast.Yield) and node is not direct:
            refuse(title, node, "the yield is inside an expression; give it a line of its own")


def refuse_unchecked_inner(
    title: str,
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
    resolve: Callable[[ast.expr], Any],
    is_contract: Callable[[ast.expr], bool],
) -> None:
    """Refuse inner functions with tensor annotations that nobody would enforce.

    Raises:
        AnnotationError: there is one that is not decorated with `contract`.
    """
    for inner in ast.walk(node):
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if any(is_contract(decorator) for decorator in inner.decorator_list):
            continue
        every = [*inner.args.posonlyargs, *inner.args.args, *inner.args.kwonlyargs]
        hints = [inner.returns, *(argument.annotation for argument in every)]
        hints += [line.annotation for line in ast.walk(inner) if isinstance(line, ast.AnnAssign)]
        if any(hint is not None and _holds_tensors(hint, resolve) for hint in hints):
            refuse(
                title,
                inner,
                f"the annotations of the inner function {inner.name!r} would not be enforced; "
                "decorate it with @tinynets.contract, or move it out of the method",
            )


def _holds_tensors(annotation: ast.expr, resolve: Callable[[ast.expr], Any]) -> bool:
    try:
        return has_tensors(resolve(annotation))
    except AnnotationError:
        return False  # names that exist only inside the outer function: not an annotation of ours
