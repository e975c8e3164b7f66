"""State of a module under the import hook: when functions get their checks (first call, compiled code,
threads, inner functions), and when decorators of jaxtyping, beartype and typeguard are skipped.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass, replace
from types import CodeType, FunctionType
from typing import Any

import torch

from .._contract.codegen.copy_function import copy_function
from .._contract.codegen.syntax import FunctionNode
from .._contract.descriptors import functions_of
from .._torch.tracing.while_tracing import known_while_tracing
from .build import build_in_place, code_in_file, original_source
from .fields import FieldCheck, check_construction
from .instrument import FUNCTION, PACKAGE
from .lenient_policy import Lenient, Skipped

_TYPE_CHECKERS = ("jaxtyping", "beartype", "typeguard")
_MOST_VARIANTS = 8


@dataclass
class Waiting:
    """A function that has not been called yet."""

    function: Any
    line: int
    end_line: int
    lines: list[str]  # of the file when the function was defined
    plain: bool = False
    traced: FunctionType | None = None  # a copy with checks, for code that was compiled before the first call
    building: bool = False


_Variant = tuple[dict[str, Any], CodeType]  # annotations, and the code for them


@dataclass
class _Inner:
    """A function inside a function, which is created with each call of the outer one."""

    code: CodeType  # as it is before
    built: list[_Variant] = field(default_factory=list["_Variant"])


class CheckedModule:
    """The name `_tn_package` in an instrumented module, with its name, file and source. A reload keeps it."""

    def __init__(self, name: str, file: str, lines: list[str]) -> None:
        self.name, self.file, self.lines = name, file, lines
        self.skipped: dict[Skipped, None] = {}
        self.doubts: dict[str, None] | None = None  # axes that look misspelt, for an audit
        self.checks: dict[int, Counter[str]] = {}  # line of a function -> its checks, by kind
        self.waiting: dict[int, Waiting] = {}  # by line of the definition
        self.classes: dict[type, FieldCheck] = {}
        self._inner: dict[int, _Inner] = {}  # by the identity of their code
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return checked_module, (self.name,)  # functions that are pickled by value share it

    def skip(self, skipped: Skipped) -> None:
        """Record an annotation that is not enforced."""
        self.skipped[skipped] = None

    # Called from the module

    def instrument(self, line: int, end_line: int) -> Callable[[Any], Any]:
        """Return the innermost decorator of a function at module level or of a method."""
        return functools.partial(self._instrument, line, end_line)

    def _instrument(self, line: int, end_line: int, function: FunctionType) -> FunctionType:
        self.build(line)  # an earlier one: of a definition in a loop, or before a reload
        self.waiting[line] = Waiting(function, line, end_line, self.lines)
        function.__globals__[f"{FUNCTION}{line}"] = function
        return function

    def is_traced(self) -> bool:
        """Whether dynamo traces the caller."""
        return torch.compiler.is_dynamo_compiling()

    @known_while_tracing
    def build(self, line: int, traced: bool = False) -> None:
        """Add checks to the function defined in a line, if it has none yet.

        If dynamo traces the call, a copy gets them: dynamo may restart, and must find the function unchanged.
        """
        with self._lock:
            waiting = self.waiting.get(line)
            if waiting is None:
                return
            if traced and waiting.traced is None:
                waiting.traced = copy_function(waiting.function)
                self._build(replace(waiting, function=waiting.traced))
                waiting.function.__globals__[f"{FUNCTION}{line}"] = waiting.traced
            elif not traced and not waiting.building:
                self._build_copy(waiting)
                del self.waiting[line]

    def _build_copy(self, waiting: Waiting) -> None:
        """Build a copy of a function and take over its code, so that no call finds the function half built.

        Until then, the function's own code makes other threads wait for the lock. A call by the build itself,
        as from an annotation, cannot wait: it runs the copy, which is not checked yet.
        """
        function, name = waiting.function, f"{FUNCTION}{waiting.line}"
        called, copy = function.__globals__[name], copy_function(function)
        waiting.building, function.__globals__[name] = True, copy
        try:
            self._build(replace(waiting, function=copy))
            function.__code__ = copy.__code__
        finally:
            waiting.building, function.__globals__[name] = False, called

    def inner(self, line: int, end_line: int) -> Callable[[Any], Any]:
        """Return the innermost decorator of a function inside a function."""
        if torch.compiler.is_dynamo_compiling():
            return _unchanged
        return functools.partial(self._build_inner, line, end_line)

    def _build_inner(self, line: int, end_line: int, function: FunctionType) -> FunctionType:
        known = self._inner.setdefault(id(function.__code__), _Inner(function.__code__))
        for hints, code in known.built:
            if hints == function.__annotations__:
                function.__code__ = code
                return function
        if len(known.built) == _MOST_VARIANTS:
            return function  # its annotations are new objects each time: building it each time would be slow
        with self._lock:
            self._build(Waiting(function, line, end_line, self.lines), inner=True)
        known.built.append((dict(function.__annotations__), function.__code__))
        return function

    def _build(self, waiting: Waiting, *, inner: bool = False) -> None:
        function, line, code = waiting.function, waiting.line, waiting.function.__code__
        source = waiting.lines[line - 1 : waiting.end_line]
        policy = Lenient(self.name, line, self.skip, plain=waiting.plain)
        try:
            self.checks[line] = build_in_place(
                function, source, policy, at_definition=inner, doubt=self._doubt()
            )
        except Exception as error:  # whatever it is, the function must run
            policy.refuse(function.__qualname__, "", 0, f"{type(error).__name__}: {error}")
            if function.__code__ is code and not inner:  # it would build itself forever
                function.__code__ = code_in_file(code, waiting.lines)

    def _doubt(self) -> Callable[[str], None] | None:
        doubts = self.doubts
        return None if doubts is None else lambda text: doubts.update({text: None})

    def decorator(self, decorator: Any) -> Any:
        """Return a decorator; one of a type checker leaves instrumented functions unchanged."""
        module: str = getattr(getattr(decorator, "func", decorator), "__module__", None) or ""
        if module.partition(".")[0] not in _TYPE_CHECKERS:
            return decorator
        return functools.partial(self._unless_instrumented, decorator)

    def _unless_instrumented(self, decorator: Callable[[Any], Any], target: Any) -> Any:
        if isinstance(target, type):
            return target if is_dataclass(target) else decorator(target)  # `fields` runs afterwards
        found = [self._waiting_of(function) for function in functions_of(target)]
        if not any(found):
            return decorator(target)
        for waiting in filter(None, found):
            waiting.plain = True
        return target

    def _waiting_of(self, function: FunctionType) -> Waiting | None:
        return next((w for w in reversed(self.waiting.values()) if w.function is function), None)

    def fields(self, line: int) -> Callable[[type], type]:
        """Return the outermost decorator of a class, which checks the fields of a dataclass or NamedTuple."""
        return functools.partial(self._fields, line)

    def _fields(self, line: int, cls: type) -> type:
        check = check_construction(cls, Lenient(self.name, line, self.skip, plain=False), self.file)
        if check:
            self.classes[cls] = check
        return cls

    # Called from other packages

    def release(self, function: FunctionType) -> tuple[FunctionNode, str] | None:
        """Release a function that a strict contract takes over; return its definition and text."""
        waiting = self._waiting_of(function)
        if waiting is None:
            return None
        del self.waiting[waiting.line]
        return original_source(function, waiting.lines[waiting.line - 1 : waiting.end_line], waiting.line)


def _unchanged(function: Any) -> Any:
    return function


def checked_module(name: str) -> CheckedModule:
    """Return the `CheckedModule` of the instrumented module of that name."""
    return vars(sys.modules[name])[PACKAGE]


def checked_modules(package: str) -> list[CheckedModule]:
    """Return the instrumented modules of a package, in alphabetical order."""
    return [
        vars(module)[PACKAGE]
        for name, module in sorted(sys.modules.items())
        if (name == package or name.startswith(f"{package}.")) and PACKAGE in vars(module)
    ]
