"""Find and replace the functions inside `property`, `cached_property`, static, class and partial methods,
`partial`, `lru_cache` and `singledispatchmethod`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

# `functools.lru_cache` is written in C, and its class has no public name.
_LruCache: Any = type(functools.lru_cache(str))

HOLDERS = (
    staticmethod,
    classmethod,
    property,
    functools.cached_property,
    functools.partial,
    functools.partialmethod,
    _LruCache,
)


def functions_of(member: Any) -> list[FunctionType]:
    """Return the functions of a class member; a decorator written in Python is one of them."""
    found: list[FunctionType] = []

    def note(function: FunctionType) -> FunctionType:
        found.append(function)
        return function

    with_functions(member, note)
    return found


def with_functions(member: Any, change: Callable[[FunctionType], FunctionType]) -> Any:
    """Return a member with each of its functions replaced, or the same object if none changes."""
    if isinstance(member, FunctionType):
        return change(member)
    if isinstance(member, property):
        accessors = {"getter": member.fget, "setter": member.fset, "deleter": member.fdel}
        for name, accessor in accessors.items():
            changed = with_functions(accessor, change)
            if changed is not accessor:
                member = getattr(member, name)(changed)
        return member
    holder: Any = member
    if isinstance(member, functools.singledispatchmethod):
        return _with_dispatched(holder, change)
    if not isinstance(member, HOLDERS):
        return holder
    held = "__func__" if isinstance(member, staticmethod | classmethod) else "func"
    held = "__wrapped__" if isinstance(member, _LruCache) else held
    function = getattr(holder, held)
    changed = with_functions(function, change)
    if changed is function:
        return holder
    if isinstance(member, functools.partial | functools.partialmethod):
        return type(holder)(changed, *holder.args, **holder.keywords)
    if isinstance(member, _LruCache):
        return functools.lru_cache(**holder.cache_parameters())(changed)
    copy: Any = type(holder)(changed)
    if isinstance(member, functools.cached_property):
        copy.attrname = holder.attrname  # `__set_name__` runs for the members of a class body only
    return copy


def _with_dispatched(member: Any, change: Callable[[FunctionType], FunctionType]) -> Any:
    """Return a `singledispatchmethod` with each function in its registry replaced."""
    registry = member.dispatcher.registry
    changed = {kind: with_functions(function, change) for kind, function in registry.items()}
    if all(changed[kind] is function for kind, function in registry.items()):
        return member
    copy: Any = functools.singledispatchmethod(changed.pop(object))
    for kind, function in changed.items():
        copy.register(kind, function)
    return copy
