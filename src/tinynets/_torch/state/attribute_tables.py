"""Attributes that are not in a plain dict: in a class, in slots, in the closure of a function."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Protocol, cast

from .foreign import PLAIN_TYPES, is_foreign


class AttributeTable(Protocol):
    """Attributes of one object, read and written by name."""

    def read(self) -> dict[str, Any]:
        """Return those that are set now."""
        ...

    def write(self, name: str, value: Any) -> None:
        """Set one."""
        ...

    def remove(self, name: str) -> None:
        """Unset one."""
        ...


@dataclass(frozen=True, eq=False)
class _OwnedTable:
    owner: Any

    def write(self, name: str, value: Any) -> None:
        """Set one."""
        setattr(self.owner, name, value)

    def remove(self, name: str) -> None:
        """Unset one."""
        delattr(self.owner, name)


@dataclass(frozen=True, eq=False)
class SlotsTable(_OwnedTable):
    """Attributes of an object by a list of names, such as its `__slots__`."""

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


@dataclass(frozen=True, eq=False)
class ClassTable(_OwnedTable):
    """The members of a class that can be state, without code, descriptors and Python's own names."""

    def read(self) -> dict[str, Any]:
        """Return those that are set now."""
        members = cast("dict[str, Any]", vars(self.owner)).items()
        return {n: v for n, v in members if not n.startswith(("__", "_abc_")) and _can_be_state(v)}


@dataclass(frozen=True, eq=False)
class ClosureTable:
    """The variables of the enclosing functions that a function uses."""

    function: FunctionType

    @classmethod
    def of(cls, function: FunctionType) -> ClosureTable | None:
        """Return the closure of a function, None if it has none."""
        return cls(function) if function.__closure__ else None

    def read(self) -> dict[str, Any]:
        """Return those that are set now."""
        found: dict[str, Any] = {}
        for name in self.function.__code__.co_freevars:
            with suppress(ValueError):  # not assigned yet
                found[name] = self._cell(name).cell_contents
        return found

    def write(self, name: str, value: Any) -> None:
        """Set one."""
        self._cell(name).cell_contents = value

    def remove(self, name: str) -> None:
        """Unset one."""
        del self._cell(name).cell_contents

    def _cell(self, name: str) -> Any:
        return (self.function.__closure__ or ())[self.function.__code__.co_freevars.index(name)]


def _can_be_state(value: Any) -> bool:
    return type(value) in PLAIN_TYPES or not (hasattr(value, "__get__") or is_foreign(value))


def _as_tuple(slots: str | Iterable[str]) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)
