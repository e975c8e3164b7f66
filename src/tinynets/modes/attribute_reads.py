"""Find the attributes of `self` that a method reads, from its source, or from its bytecode without one."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from types import CodeType, FunctionType


def names_in(code: CodeType) -> set[str]:
    """Return every name of an attribute or global that a function or its inner functions look up."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a lambda, comprehension or inner function
            found |= names_in(constant)
    return found


def attribute_reads(function: FunctionType) -> Counter[str]:
    """Return how often a method reads each attribute of `self`, and `training` and `forward` of anything.

    If there is no source, as for code from `exec`, or if it was edited after it was compiled, every name that
    the code looks up counts as read once: some may be globals, or attributes of other objects.
    """
    names, tree = names_in(function.__code__), _definition(function)
    if tree is None:
        return Counter(names)
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    this = arguments[0] if arguments else "self"
    reads = Counter(
        node.attr
        for statement in tree.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        if node.attr in ("training", "forward")
        or (isinstance(node.value, ast.Name) and node.value.id == this)
    )
    # The code has other names if the file was edited, and for `self.__x`, which Python mangles.
    return reads if names.issuperset(reads) else Counter(names)


def _definition(function: FunctionType) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    try:
        lines, _ = inspect.getsourcelines(function.__code__)
        # An indented method parses as the body of an `if`.
        tree = ast.parse("".join(["if 1:\n", *lines] if lines[0][:1].isspace() else lines))
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    statement = tree.body[0]
    found = statement.body[0] if isinstance(statement, ast.If) else statement
    is_function = isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef)
    return found if is_function and found.name == function.__code__.co_name else None
