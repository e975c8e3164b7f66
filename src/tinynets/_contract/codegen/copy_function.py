"""Copy a function with other code or another closure: how checks get under a decorator, and the error for a
decorator that keeps its function in a dict, an attribute or a global.
"""

from __future__ import annotations

import ast
import functools
import inspect
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NoReturn, cast

from jaxtyping import AnnotationError

from .syntax import FunctionNode


def replace_wrapped(decorator: FunctionType, wrapped: FunctionType, checked: FunctionType) -> FunctionType:
    """Copy a decorator's function so that it calls the checked function, directly or through other functions.

    Raises:
        AnnotationError: it keeps the wrapped function outside of closures and defaults.
    """
    if checked is wrapped:
        return decorator
    if not reaches(decorator, wrapped):
        raise_hidden(wrapped)
    copy = _with_replaced(decorator, wrapped, {wrapped: checked})
    copy.__dict__ |= {"__wrapped__": checked, **checked.__dict__}
    return copy


def reaches(decorator: FunctionType, wrapped: FunctionType) -> bool:
    """Whether a function holds another one in closures and defaults only."""
    return _holds(decorator, wrapped) and wrapped not in _kept_in_objects(decorator)


def raise_hidden(function: FunctionType) -> NoReturn:
    """Raise AnnotationError for a function whose decorator keeps it where no check can be inserted."""
    raise AnnotationError(
        f"{function.__qualname__}: its decorator does not hold it in a closure, so nothing inside would be"
        " enforced; put @tinynets.contract directly above the def"
    )


def _with_replaced(value: Any, wrapped: FunctionType, copies: dict[Any, FunctionType]) -> Any:
    """Return a value; of a function that holds the wrapped one, the copy that holds its replacement."""
    if not _holds(value, wrapped):
        return value
    function = cast("FunctionType", value)
    if function in copies:
        return copies[function]
    replaced = functools.partial(_with_replaced, wrapped=wrapped, copies=copies)
    old = function.__closure__ or ()
    changed = [_holds(_contents(cell), wrapped) for cell in old]
    cells = tuple(CellType() if new else cell for cell, new in zip(old, changed, strict=True))
    copies[function] = copy = copy_function(function, closure=cells)
    for cell, before, new in zip(cells, old, changed, strict=True):  # now, as the copy may be in one of them
        if new:
            cell.cell_contents = replaced(before.cell_contents)
    copy.__defaults__ = tuple(map(replaced, function.__defaults__ or ())) or None
    copy.__kwdefaults__ = {k: replaced(v) for k, v in (function.__kwdefaults__ or {}).items()}
    copy.__dict__ |= {name: replaced(held) for name, held in vars(function).items()}
    return copy


def _holds(value: object, wrapped: FunctionType) -> bool:
    """Whether a value is the wrapped function, or one that holds it in closures and defaults."""
    seen: set[FunctionType] = set()
    todo = [value]
    while todo:
        value = todo.pop()
        if value is wrapped:
            return True
        if isinstance(value, FunctionType) and value not in seen:
            seen.add(value)
            todo += _held(value)
    return False


def _held(function: FunctionType) -> list[Any]:
    cells = [_contents(cell) for cell in function.__closure__ or ()]
    return [*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _kept_in_objects(function: FunctionType) -> list[FunctionType]:
    """Return functions that a function refers to in lists, dicts, partials and attributes of objects."""
    found: list[FunctionType] = []
    seen: set[int] = set()
    todo = _held(function)
    while todo and len(seen) < 1000:
        value = todo.pop()
        if id(value) in seen or isinstance(value, type | ModuleType):
            continue
        seen.add(id(value))
        inside: list[Any] = []
        if isinstance(value, FunctionType):
            todo += _held(value)
        elif isinstance(value, dict):
            inside = list(cast("dict[Any, Any]", value).values())
        elif isinstance(value, list | tuple | set | frozenset):
            inside = list(cast("list[Any]", value))
        elif isinstance(value, functools.partial):
            inside = [value.func, *value.args, *value.keywords.values()]
        else:
            inside = list(getattr(value, "__dict__", {}).values())
        found += [item for item in inside if isinstance(item, FunctionType)]
        todo += inside
    return found


def copy_function(
    function: FunctionType, code: CodeType | None = None, closure: tuple[CellType, ...] | None = None
) -> FunctionType:
    """Copy a function with everything that it has, but with other code and another closure if given."""
    closure = function.__closure__ if closure is None else closure
    parts = function.__globals__, function.__name__, function.__defaults__, closure
    copy = FunctionType(code or function.__code__, *parts)
    for name in ("__kwdefaults__", "__annotations__", "__doc__", "__module__", "__qualname__"):
        setattr(copy, name, getattr(function, name))
    if hasattr(function, "__type_params__"):  # Python 3.12
        setattr(copy, "__type_params__", getattr(function, "__type_params__"))  # noqa: B009, B010
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
