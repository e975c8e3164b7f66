"""Copy a function with other code, or with another function in its closure."""

from __future__ import annotations

import ast
import inspect
from types import CellType, CodeType, FunctionType
from typing import cast

from jaxtyping import AnnotationError

from .syntax import FunctionNode


def replace_wrapped(decorator: FunctionType, wrapped: FunctionType, checked: FunctionType) -> FunctionType:
    """Copy a wrapper made by `functools.wraps` so that it calls the checked function.

    Raises:
        AnnotationError: the wrapper does not hold the wrapped function in a closure cell.
    """
    cells = decorator.__closure__ or ()
    if checked is wrapped:
        return decorator
    if not any(_contents(cell) is wrapped for cell in cells):
        raise AnnotationError(
            f"{wrapped.__qualname__}: its decorator does not hold it in a closure, so nothing inside would be"
            " enforced; put @tinynets.contract directly above the def"
        )
    closure = tuple(CellType(checked) if _contents(cell) is wrapped else cell for cell in cells)
    copy = copy_with_code(decorator, decorator.__code__, closure)
    copy.__dict__ |= {"__wrapped__": checked, **checked.__dict__}
    return copy


def copy_with_code(function: FunctionType, code: CodeType, closure: tuple[CellType, ...]) -> FunctionType:
    """Copy a function with everything but its code and closure."""
    copy = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    for name in ("__kwdefaults__", "__annotations__", "__doc__", "__module__", "__qualname__"):
        setattr(copy, name, getattr(function, name))
    copy.__dict__.update(function.__dict__)
    return copy


def _contents(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # still empty


def forwarding_node(function: FunctionType, signature: inspect.Signature) -> FunctionNode:
    """Return a definition with the same signature that calls the original, for functions without source."""
    call: list[str] = []
    for name, parameter in signature.parameters.items():
        mark = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        call.append(f"{name}={name}" if parameter.kind is parameter.KEYWORD_ONLY else f"{mark}{name}")
    bare = [
        p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else None)
        for p in signature.parameters.values()
    ]
    parameters = str(inspect.Signature(bare))
    called = f"_tn_original({', '.join(call)})"
    if inspect.isasyncgenfunction(function):
        text = f"async def f{parameters}:\n    async for _tn_item in {called}:\n        yield _tn_item"
    elif inspect.isgeneratorfunction(function):
        text = f"def f{parameters}:\n    for _tn_item in {called}:\n        yield _tn_item"
    elif inspect.iscoroutinefunction(function):
        text = f"async def f{parameters}:\n    return await {called}"
    else:
        text = f"def f{parameters}:\n    return {called}"
    node = cast(FunctionNode, ast.parse(text).body[0])
    node.name = function.__code__.co_name if function.__name__.isidentifier() else "function"
    return node
