"""Inspect and build pieces of Python syntax trees: parameters, docstrings, assigned names, and statements at
the position of the user's line.
"""

from __future__ import annotations

import ast
import copy
import gc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@contextmanager
def collection_paused() -> Generator[None]:
    """Pause garbage collection while syntax trees are made.

    They are many small, short-lived objects. Without a pause they trigger a collection of everything that
    torch has created, which takes longer than all the rest.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def parse_definition(lines: list[str], first: int = 1) -> ast.stmt:
    """Parse the lines of one definition, indented or not, of which the first has a number in its file."""
    inside = lines[0][:1].isspace()
    statement = ast.parse("".join(["if 1:\n", *lines] if inside else lines)).body[0]
    definition = cast("ast.If", statement).body[0] if inside else statement
    return ast.increment_lineno(definition, first - 1 - inside)


def own_expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the expression nodes of a statement, without those of nested statements and lambdas."""
    todo: list[ast.AST] = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr)]
    todo += getattr(statement, "items", [])
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.Lambda):
            todo += [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]


def assigned_names(target: ast.expr) -> list[str]:
    """Return the names that a target binds, including those inside a tuple."""
    return [
        node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]


def parameters_of(node: FunctionNode) -> dict[str, ast.arg]:
    """Return all parameters of a function by name, as they are written."""
    arguments = node.args
    optional = [a for a in (arguments.vararg, arguments.kwarg) if a]
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *optional]
    return {argument.arg: argument for argument in every}


def find_parameter(node: FunctionNode, name: str) -> ast.arg:
    """Return a parameter by the name that Python has for it: `__x` is `_Net__x` in a class."""
    return next(
        argument
        for written, argument in parameters_of(node).items()
        if written == name or (written.startswith("__") and name.endswith(written))
    )


class _VisibleNames(ast.NodeTransformer):
    """Wraps calls that list all local variables, except in nested functions."""

    def visit(self, node: ast.AST) -> Any:
        return node if isinstance(node, FunctionNode | ast.Lambda | ast.ClassDef) else super().visit(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if not (isinstance(node.func, ast.Name) and node.func.id in _SHOW_NAMES and not node.args):
            return node
        function = ast.copy_location(ast.Name("_tn_visible", ast.Load()), node)
        return ast.copy_location(ast.Call(function, [node], []), node)


_SHOW_NAMES = ("locals", "vars", "dir")


def with_visible_names(node: FunctionNode, text: str) -> FunctionNode:
    """Return a copy of a definition in which `locals()` has no generated names; `text` is its source."""
    if not any(f"{name}(" in text for name in _SHOW_NAMES):
        return node
    node, transformer = copy.deepcopy(node), _VisibleNames()
    node.body = [transformer.visit(statement) for statement in node.body]
    return node


def split_docstring(body: list[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Split the body of a function into its docstring, if it has one, and the rest."""
    first = body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return body[:1], body[1:]
    return [], body


def indented(lines: list[str]) -> list[str]:
    """Indent lines by one level."""
    return ["    " + line for line in lines]


def located(lines: list[str], place: ast.AST) -> list[ast.stmt]:
    """Parse source lines into statements that all have the position of one node of the user's file."""
    statements = ast.parse("\n".join(lines)).body
    position = {name: getattr(place, name, default) for name, default in _POSITION.items()}
    todo: list[ast.AST] = [*statements]
    while todo:  # ast.walk and ast.copy_location take eight times as long
        node = todo.pop()
        vars(node).update(position)
        for name in _inner_fields(type(node)):
            child = getattr(node, name)
            if isinstance(child, list):
                todo += child
            elif child is not None:
                todo.append(child)
    return statements


_POSITION = {"lineno": 1, "end_lineno": 1, "col_offset": 0, "end_col_offset": 0}
_WITHOUT_POSITION = {"ctx", "op", "ops", "id", "attr", "arg", "name", "names", "kind", "type_comment"}


@lru_cache(maxsize=256)
def _inner_fields(kind: type[ast.AST]) -> tuple[str, ...]:
    """Return the fields of a node type that contain nodes with a position."""
    if kind is ast.Constant:
        return ()
    return tuple(name for name in kind._fields if name not in _WITHOUT_POSITION)
