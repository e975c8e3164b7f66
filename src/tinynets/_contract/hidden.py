"""Find methods that a decorator keeps where their checks could not be inserted."""

from __future__ import annotations

import gc
import sys
import typing
from collections.abc import Collection
from types import CodeType, FrameType, FunctionType
from typing import Any

from .codegen.annotated_lines import innermost
from .contract import contract_of, is_enforced
from .descriptors import functions_of


def method_codes(cls: type) -> dict[str, list[CodeType]]:
    """Return the code of the functions in the body of a class that is being created, by name."""
    found: dict[str, list[CodeType]] = {}
    for code in _body_of(cls).co_consts if _body_of(cls) else ():
        if isinstance(code, CodeType) and code.co_qualname == f"{cls.__qualname__}.{code.co_name}":
            found.setdefault(code.co_name, []).append(code)
    return found


def _body_of(cls: type) -> Any:
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        for body in frame.f_code.co_consts:
            if isinstance(body, CodeType) and body.co_qualname == cls.__qualname__:
                return body
        frame = frame.f_back
    return None


def hidden_function(member: Any, codes: Collection[CodeType]) -> FunctionType | None:
    """Return the function that a decorator has replaced by another one, without `__wrapped__`; else None.

    Args:
        member: the member of the class.
        codes: the code of what its body defines under that name.
    """
    if not codes:
        return None
    for function in map(innermost, functions_of(member)):
        known = contract_of(function)
        if (known.original if known else function).__code__ in codes:
            return None
    for code in codes:
        for holder in gc.get_referrers(code):
            if not isinstance(holder, FunctionType) or holder.__code__ is not code or is_enforced(holder):
                continue
            if holder not in typing.get_overloads(holder):
                return holder
    return None
