"""Read and write attributes that are not in a plain dict, for the walk over a model: those of a class, in
`__slots__`, and in the closure of a function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast

from .foreign import PLAIN_TYPES, is_foreign


@dataclass(frozen=True, eq=False)
class AttributeTable(ABC):
    """Attributes of one object, read and written by name."""

    owner: Any

    @abstractmethod
    def read(self) -> dict[str, Any]:
        """Return those that are set now."""

    def write(self, name: str, value: Any) -> None:
        """Set one."""
        setattr(*self._place(name), value)

    def remove(self, name: str) -> None:
        """Unset one."""
        delattr(*self._place(name))

    def _place(self, name: str) -> tuple[Any, str]:
        return self.owner, name


@dataclass(frozen=True, eq=False)
class SlotsTable(AttributeTable):
    """Attributes of an object by their names, as of one with `__slots__`."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, value: object) -> SlotsTable | None:
        """Return the slots of an object, None if it has none."""
        names = tuple(
            name
            for base in type(value).__mro__
            for name in _as_tuple(base.__dict__.get("__slots__", ()))
            if not name.startswith("__")
        )
        return cls(value, names) if names else None

    def read(self) -> dict[str, Any]:
        """Return those that are set now."""
        return {name: getattr(self.owner, name) for name in self.names if hasattr(self.owner, name)}


class ClassTable(AttributeTable):
    """What the body of a class holds that can be state: no code, no descriptor, nothing of Python's own."""

    def read(self) -> dict[str, Any]:
        """Return those that are set now."""
        members = cast("dict[str, Any]", vars(self.owner)).items()
        return {n: v for n, v in members if not n.startswith(("__", "_abc_")) and _can_be_state(v)}


class ClosureTable(AttributeTable):
    """The variables of the enclosing functions that a function, its owner, uses."""

    @classmethod
    def of(cls, function: FunctionType) -> ClosureTable | None:
        """Return the closure of a function, None if it has none."""
        return cls(function) if function.__closure__ else None

    def read(self) -> dict[str, Any]:
        """Return those that are set now."""
        found: dict[str, Any] = {}
        for name in self.owner.__code__.co_freevars:
            with suppress(ValueError):  # not assigned yet
                found[name] = getattr(*self._place(name))
        return found

    def _place(self, name: str) -> tuple[Any, str]:
        return self.owner.__closure__[self.owner.__code__.co_freevars.index(name)], "cell_contents"


def _can_be_state(value: Any) -> bool:
    return type(value) in PLAIN_TYPES or not (hasattr(value, "__get__") or is_foreign(value))


def _as_tuple(slots: str | Iterable[str]) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
