"""The base of all mode context managers: reusable, reentrant, usable as a decorator, allowed in compiled
functions; and the errors for arguments that are not models.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any, Generic, ParamSpec, TypeVar, cast

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling

from .._torch.tracing.compiler import compiler_watches
from . import with_blocks
from .decorate import run_inside
from .flags import exported_error

P = ParamSpec("P")
R = TypeVar("R")
Token = TypeVar("Token")


class ModeContext(ABC, Generic[Token]):
    """A mode for some models, as a context manager and a decorator.

    One object may be used many times, nested in itself, and by several threads at once.
    """

    def __init__(self, name: str, models: tuple[nn.Module, ...]) -> None:
        require_models(name, models)
        self._name = name
        self._models = models
        self._entered: list[tuple[with_blocks.Owner, Token]] = []

    @abstractmethod
    def _prepare(self) -> Token:
        """Return the data that one pass needs; change nothing yet."""

    @abstractmethod
    def _enter(self, token: Token) -> None:
        """Switch the modes."""

    @abstractmethod
    def _leave(self, token: Token) -> None:
        """Undo `_enter`, even if it was interrupted; safe to call twice."""

    def __enter__(self) -> None:
        if is_dynamo_compiling() or compiler_watches():
            _opaque("_begin")(self)
        else:
            self._begin()

    def __exit__(self, *error: object) -> None:
        entry: Any = None
        last_entered, finish = type(self)._last_entered, type(self)._finish
        try:
            if is_dynamo_compiling() or compiler_watches():
                last_entered, finish = _opaque("_last_entered"), _opaque("_finish")
            entry = last_entered(self)
            finish(self, entry)
        except BaseException:  # Ctrl-C at any point: run again, since each step may be repeated
            finish(self, entry or last_entered(self))
            raise

    def _begin(self) -> None:
        entry = (with_blocks.current_owner(), self._prepare())
        try:
            self._entered.append(entry)
            self._enter(entry[1])
        except BaseException:  # also Ctrl-C: `__exit__` will not be called
            self._finish(entry)
            raise

    def _finish(self, entry: tuple[with_blocks.Owner, Token]) -> None:
        try:
            self._leave(entry[1])
        finally:
            with contextlib.suppress(ValueError):
                self._entered.remove(entry)

    def _last_entered(self) -> tuple[with_blocks.Owner, Token]:
        owner = with_blocks.current_owner()
        entered = self._entered.copy()
        # A generator may be finished by another thread than its own: then the last entry of all.
        return next((entry for entry in reversed(entered) if entry[0] is owner), entered[-1])

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, generator, coroutine or async generator, which keeps its kind."""
        return run_inside(self, function)

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(type(model).__name__ for model in self._models)})"


_opaque_methods: dict[str, Callable[..., Any]] = {}


def _opaque(name: str) -> Callable[..., Any]:
    """Return a method that `torch.compile` does not trace, so that a compiled function may contain a block.

    Created on demand: `torch.compiler.disable` imports the whole compiler.
    """
    if name not in _opaque_methods:
        _opaque_methods[name] = cast("Any", torch.compiler).disable(getattr(ModeContext, name))
    return _opaque_methods[name]


def require_models(name: str, models: tuple[object, ...]) -> None:
    """Check that each argument is a module.

    Raises:
        TypeError: an argument is not a module, or there are none.
        ModeError: an argument is an exported program.
    """
    if not models:
        raise TypeError(f"{name}() needs at least one model: {name}(model)")
    for model in models:
        if isinstance(model, nn.Module):
            continue
        if type(model).__name__ == "ExportedProgram":
            raise exported_error("An ExportedProgram")
        if isinstance(model, type):
            hint = f"the class {model.__name__}; make a model of it first: {model.__name__}()"
        elif isinstance(model, Collection) and not isinstance(model, str):
            hint = f"a {type(cast('object', model)).__name__}; pass its models one by one: {name}(*models)"
        elif callable(model):
            called = getattr(model, "__name__", type(model).__name__)
            hint = f"the function {called}; as a decorator, name the model: @{name}(model)"
        else:
            hint = type(model).__name__
        raise TypeError(f"{name}() takes models (torch.nn.Module), got {hint}")
