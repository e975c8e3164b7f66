"""Find methods that a decorator keeps where checks cannot be inserted."""

from __future__ import annotations

import dis
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
    body, found = _body_of(cls), dict[str, list[CodeType]]()
    for code in body.co_consts if body else ():
        if isinstance(code, CodeType) and code.co_qualname == f"{cls.__qualname__}.{code.co_name}":
            found.setdefault(code.co_name, []).append(code)
    return found


def _body_of(cls: type) -> CodeType | None:
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        constants = frame.f_code.co_consts
        bodies = [b for b in constants if isinstance(b, CodeType) and b.co_qualname == cls.__qualname__]
        if bodies:
            return bodies[0] if len(bodies) == 1 else _last_loaded(bodies, frame)
        frame = frame.f_back
    return None


def _last_loaded(bodies: list[CodeType], frame: FrameType) -> CodeType | None:
    """Return the body whose class statement is running, if several have the same name (`if` and `else`)."""
    last = None
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.offset >= frame.f_lasti:
            break
        last = next((body for body in bodies if body is instruction.argval), last)
    return last


def hidden_function(member: Any, codes: Collection[CodeType]) -> FunctionType | None:
    """Return the function that a decorator replaced without setting `__wrapped__`, or None.

    Args:
        member: the member of the class.
        codes: the code objects that the class body defines under that name.
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
