"""Find the axes that a class declares, in its body, its bases or `__init__`: `width: int`, `Final`,
`ClassVar`, `Annotated`, and `int | None`, which is free while the attribute is None.
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Annotated, Any, ClassVar, Final, Union

from jaxtyping import AnnotationError
from torch import nn

from .resolve_names import NameResolver


@dataclass(frozen=True)
class ClassScope:
    """The class and its axes, for the annotations of its methods."""

    owner: type | None = None
    axes: frozenset[str] = frozenset()  # attributes of the instance that are ints
    optional_axes: frozenset[str] = frozenset()  # ... or None, which leaves the axis free

    def without_axes(self) -> ClassScope:
        """Return the scope of a method that runs without a finished instance."""
        return ClassScope(self.owner)

    def known_axes(self, instance: object) -> frozenset[str]:
        """Return the axes that have a size in a finished instance: those that are not None."""
        return self.axes | {n for n in self.optional_axes if getattr(instance, n, None) is not None}

    def set_axes(self, instance: object) -> frozenset[str]:
        """Return the axes that have a size: those that are set on the instance and are not None."""
        return frozenset(
            name
            for name in self.axes | self.optional_axes
            if (name in vars(instance) or hasattr(type(instance), name))
            and (name in self.axes or getattr(instance, name) is not None)
        )


NO_CLASS = ClassScope()


def declared_axes(instance: object) -> dict[str, int]:
    """Return the axes that the class of a module declares, with their sizes in this module."""
    scope: ClassScope = getattr(type(instance), "_class_scope", NO_CLASS)
    sizes: dict[str, Any] = {name: getattr(instance, name) for name in scope.set_axes(instance)}
    return {name: size for name, size in sizes.items() if isinstance(size, int)}


def class_scope(cls: type, lines: Callable[[FunctionType], Iterator[ast.AnnAssign]]) -> ClassScope:
    """Return the axes declared in the bodies and `__init__` methods of a class and its bases.

    `lines` returns the annotated lines of a function.
    """
    declared: dict[str, bool] = {}  # axis -> whether it may be None
    for base in reversed(cls.__mro__):
        if base not in nn.Module.__mro__:
            declared |= _declared_by(base, cls, lines)
    optional = frozenset(name for name, may_be_none in declared.items() if may_be_none)
    return ClassScope(cls, frozenset(declared) - optional, optional)


def _declared_by(
    base: type, cls: type, lines: Callable[[FunctionType], Iterator[ast.AnnAssign]]
) -> dict[str, bool]:
    found: dict[str, bool] = {}
    annotations: dict[str, Any] = dict(inspect.get_annotations(base))
    constructor = inspect.unwrap(vars(base)["__init__"]) if "__init__" in vars(base) else None
    if isinstance(constructor, FunctionType):
        for line in lines(constructor):
            match line.target:
                case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner == _first(constructor):
                    annotations.setdefault(name, ast.unparse(line.annotation))
                case _:
                    pass
    names: NameResolver | None = None
    for name, hint in annotations.items():
        if isinstance(hint, str) and hint != "int":
            if "int" not in hint and "Final" not in hint:
                continue
            names = names or NameResolver(globals_of(base), owner=cls)
            try:
                hint = names.resolve(hint)
            except AnnotationError:
                continue
        optional = _optional_int(hint, vars(base).get(name))
        if optional is not None:
            found[name] = optional
    return found


def _first(function: FunctionType) -> str:
    return next(iter(function.__code__.co_varnames), "")


def _optional_int(hint: Any, value: object) -> bool | None:
    """Return whether an int hint also accepts None, or None if the hint is not for an int."""
    if hint is int or hint == "int":
        return False
    if hint is Final:  # the type of its value
        return False if type(value) is int else None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Final, ClassVar, Annotated):
        return _optional_int(arguments[0], value)
    if origin in (Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        kinds = [_optional_int(argument, value) for argument in arguments if argument is not type(None)]
        return True if kinds[0] is not None else None
    return None


def globals_of(cls: type) -> dict[str, Any]:
    """Return the globals of a class body; its module may not be importable (a notebook)."""
    for member in vars(cls).values():
        if isinstance(member, FunctionType):
            return member.__globals__
    return vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
