"""One object found by the walk over a model: how its path is written (`cache['mask'][0]`), and its role:
parameter, buffer, submodule, hook, flag or attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import nn

from .foreign import PLAIN


class Role(StrEnum):
    """The role of a value in the module that refers to it."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    MODULE = "submodule"
    HOOK = "hook"
    FLAG = "flag"
    ATTRIBUTE = "attribute"


@dataclass(slots=True, eq=False)
class Reachable:
    """One object reachable from a model, or the table of its attributes."""

    path: str  # `conv.weight`, `cache['mask'][0]`; `""` for the attributes of the model itself
    value: Any  # a dict or an `AttributeTable` for a table of attributes
    role: Role = Role.ATTRIBUTE  # what it, or what is in it, is to the module that holds it
    dotted: bool = False  # whether what is in it is named `path.key`, not `path[key]`
    owner: nn.Module | None = None  # whose attribute leads here; None for a registered module or tensor
    attribute: str = ""  # the name of that attribute
    of_class: bool = False  # whether it is an attribute of the class, which all instances share

    def name(self, key: object) -> str:
        """Return the path of an item in it."""
        if self.dotted:
            return f"{self.path}.{key}" if self.path else str(key)
        return f"{self.path}[{key!r}]" if isinstance(key, (*PLAIN, tuple)) else f"{self.path}[...]"

    def role_of(self, key: object) -> Role:
        """Return the role of an item in it."""
        return Role.FLAG if self.dotted and key == "training" else self.role

    def at(self, path: str, value: Any, *, role: Role | None = None, dotted: bool = False) -> Reachable:
        """Return the item for a value that is reached through this object."""
        role = self.role if role is None else role
        return Reachable(path, value, role, dotted, self.owner, self.attribute, self.of_class)
