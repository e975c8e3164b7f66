"""Find the annotations inside the body of a function, which Python does not keep, and decide whether a
function has a tensor annotation at all, and so is checked.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from jaxtyping import AnnotationError

from ...errors import NoSourceError
from ..annotations.parse_hints import has_tensors
from ..annotations.resolve_names import NameResolver
from .source import function_node

# The start of `name: hint` or of an inner function; most functions have neither and are not parsed.
_MAY_ANNOTATE = re.compile(r"^\s*(async\s+def\b|def\b|[\w.]+(\[.*\])?\s*:\s*[\w\"'(])")
# Most hints of constructors, which need not be resolved.
_WITHOUT_TENSORS: tuple[Any, ...] = (None, "None", int, "int", float, "float", bool, "bool", str, "str")


def annotated_lines(function: FunctionType) -> Iterator[ast.AnnAssign]:
    """Yield the lines of a function, and of its inner functions, that annotate a variable or attribute."""
    for node in _body_nodes(function):
        if isinstance(node, ast.AnnAssign):
            yield node


def annotates_tensors(function: FunctionType, owner: type | None = None) -> bool:
    """Whether a function has a tensor annotation: an argument, the return value, a line, an inner function.

    Decorators around it are ignored; the owner of a method is the class that is being created.
    """
    function = innermost(function)
    names: NameResolver | None = None
    for hint in _hints(function):
        if hint not in _WITHOUT_TENSORS:
            names = names or NameResolver(function.__globals__, function, owner)
            if _has_tensors(hint, names):
                return True
    return False


def _hints(function: FunctionType) -> Iterator[Any]:
    yield from inspect.get_annotations(function).values()
    for node in _body_nodes(function):
        match node:
            case ast.AnnAssign(annotation=hint) | ast.arg(annotation=hint):
                yield hint
            case ast.FunctionDef(returns=hint) | ast.AsyncFunctionDef(returns=hint):
                yield hint
            case _:
                pass


def innermost(function: FunctionType) -> FunctionType:
    """Return the function under decorators."""
    inner = inspect.unwrap(function)
    return inner if isinstance(inner, FunctionType) else function


def _body_nodes(function: FunctionType) -> Iterator[ast.AST]:
    code = function.__code__
    last = max((line for _, _, line in code.co_lines() if line), default=code.co_firstlineno)
    lines = linecache.getlines(code.co_filename, function.__globals__)[code.co_firstlineno : last]
    if not any(map(_MAY_ANNOTATE.match, lines)):
        return
    try:
        node, _ = function_node(function)
    except NoSourceError:
        return
    for statement in node.body:
        yield from ast.walk(statement)


def _has_tensors(annotation: Any, names: NameResolver) -> bool:
    try:
        return has_tensors(names.resolve(annotation))
    except AnnotationError:
        # A name for type checkers, say. A shape that cannot be parsed is reported when it is enforced.
        text = ast.unparse(annotation) if isinstance(annotation, ast.expr) else str(annotation)
        return "Tensor" in text and "[" in text
