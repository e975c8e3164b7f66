"""A site: one place in a function where one value is checked."""

from __future__ import annotations

from dataclasses import dataclass

from .specs import Spec


@dataclass(frozen=True)
class Site:
    """One place where one value is checked."""

    kind: str  # "argument", "local", "return", "yield" or "attribute"
    name: str  # the argument or variable; "return" or "yield" for a result
    spec: Spec
    line: int = 0
    end_line: int = 0
    variable: str = ""  # the variable with the value: the name again, or a generated one
