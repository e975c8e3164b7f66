"""Copy a function with other code, or with another function in its closure."""

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
    copy = _Replacement(wrapped, checked).of(decorator)
    copy.__dict__ |= {"__wrapped__": checked, **checked.__dict__}
    return copy


def reaches(decorator: FunctionType, wrapped: FunctionType) -> bool:
    """Whether a function keeps another one in closures and defaults only."""
    held = _Replacement(wrapped, wrapped).reaches(decorator, set())
    return held and wrapped not in _kept_in_objects(decorator)


def raise_hidden(function: FunctionType) -> NoReturn:
    """Raise AnnotationError for a function whose decorator keeps it where no check can be inserted."""
    raise AnnotationError(
        f"{function.__qualname__}: its decorator does not hold it in a closure, so nothing inside would be"
        " enforced; put @tinynets.contract directly above the def"
    )


class _Replacement:
    """Copies functions and replaces one function with another in all of them."""

    def __init__(self, wrapped: FunctionType, checked: FunctionType) -> None:
        self.wrapped, self.checked = wrapped, checked
        self.copies: dict[int, FunctionType] = {}

    def of(self, function: FunctionType) -> FunctionType:
        """Return the function, or a copy if it can reach the replaced one."""
        if function is self.wrapped:
            return self.checked
        if id(function) in self.copies or not self.reaches(function, set()):
            return self.copies.get(id(function), function)
        old = function.__closure__ or ()
        changed = [self.reaches(_contents(cell), set()) for cell in old]
        cells = tuple(CellType() if new else cell for cell, new in zip(old, changed, strict=True))
        copy = copy_with_code(function, function.__code__, cells)
        self.copies[id(function)] = copy  # before its cells are filled: it may be in one of them
        for cell, before, new in zip(cells, old, changed, strict=True):
            if new:
                cell.cell_contents = self._value(before.cell_contents)
        copy.__defaults__ = tuple(map(self._value, function.__defaults__ or ())) or None
        copy.__kwdefaults__ = {k: self._value(v) for k, v in (function.__kwdefaults__ or {}).items()}
        copy.__dict__ |= {name: self._value(value) for name, value in vars(function).items()}
        return copy

    def _value(self, value: Any) -> Any:
        return self.of(value) if isinstance(value, FunctionType) else value

    def reaches(self, value: object, seen: set[int]) -> bool:
        """Whether a value is the replaced function or refers to it; `seen` are the visited functions."""
        if value is self.wrapped or id(value) in self.copies:
            return True
        if not isinstance(value, FunctionType) or id(value) in seen:
            return False
        seen.add(id(value))
        return any(self.reaches(held, seen) for held in _held(value))


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
