"""Check the fields of a dataclass or NamedTuple when it is constructed; axes are those of one object."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import keyword
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

from .._torch.tracing.entry import known_while_tracing
from .build import build
from .lenient import Skipped


def check_construction(cls: type, line: int, file: str, skip: Callable[[Skipped], None]) -> FieldCheck | None:
    """Have a class check its fields when an object is constructed; return None where it has none.

    Args:
        cls: a class, after its decorators.
        line: where it is defined.
        file: its file.
        skip: is told which fields cannot be checked.
    """
    kind = cast(Any, cls)
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
        made = "__init__"
    elif issubclass(cls, tuple) and hasattr(kind, "_fields"):
        names, made = list(kind._fields), "__new__"
    else:
        return None
    constructor: Any = vars(cast(type, kind)).get(made)
    constructor = getattr(constructor, "__func__", constructor)  # `__new__` is a static method
    if not isinstance(constructor, FunctionType) or constructor.__code__.co_filename == file:
        return None  # it is inherited, or written by hand and so a function as any other
    bases: list[type] = list(reversed(kind.__mro__))
    hints = {name: hint for base in bases for name, hint in inspect.get_annotations(base).items()}
    names = [name for name in names if name in hints and not keyword.iskeyword(name)]
    defaults = {name: value for name, value in _defaults(constructor).items() if name in names}
    check = FieldCheck(kind, {name: hints[name] for name in names}, defaults, line, file, skip)
    setattr(kind, made, _checked_constructor(constructor, check, made))
    return check


def _defaults(constructor: FunctionType) -> dict[str, Any]:
    parameters = inspect.signature(constructor).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _checked_constructor(constructor: FunctionType, check: FieldCheck, made: str) -> Any:
    @functools.wraps(constructor)
    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        item = constructor(cls, *args, **kwargs)
        check.function()(*[getattr(item, name) for name in check.names])
        return item

    @functools.wraps(constructor)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        constructor(self, *args, **kwargs)
        if type(self).__init__ is init:  # else a subclass has fields of its own to set
            check.function()(*[getattr(self, name) for name in check.names])

    return staticmethod(new) if made == "__new__" else init


class FieldCheck:
    """The function whose arguments are the fields of a class, built for the first object."""

    def __init__(
        self,
        cls: type,
        hints: dict[str, Any],
        defaults: dict[str, Any],
        line: int,
        file: str,
        skip: Callable[[Skipped], None],
    ) -> None:
        self.cls, self.hints, self.defaults = cls, hints, defaults
        self.line, self.file, self.skip = line, file, skip
        self.names = list(hints)
        self.count = 0  # of checks
        self._built: FunctionType | None = None

    @known_while_tracing
    def function(self) -> FunctionType:
        """Return the function."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> FunctionType:
        source = f"def {self.cls.__name__}({', '.join(self.names)}): return\n"
        found: dict[str, Any] = {}
        exec(compile(source, self.file, "exec"), vars(sys.modules[self.cls.__module__]), found)
        function: FunctionType = found[self.cls.__name__]
        function.__qualname__, function.__annotations__ = self.cls.__qualname__, self.hints
        # In the order of the parameters: Python gives defaults from the right, and these are never used.
        function.__defaults__ = tuple(self.defaults.get(name, _NO_DEFAULT) for name in self.names)
        try:
            self.count = build(
                function,
                [source],
                self.line,
                self.file,
                self.skip,
                plain=False,
                at_definition=False,
                label=self.cls.__name__,
            )
        except Exception as error:  # whatever it is, objects must be constructed
            self.skip(Skipped(self.cls.__qualname__, "", self.line, f"{type(error).__name__}: {error}"))
        return function


_NO_DEFAULT = inspect.Parameter.empty
