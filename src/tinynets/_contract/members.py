"""Enforce the members of a `tn.Module`: which methods are checked (`forward`, `forward_...`, any with a
tensor annotation, those of mixins and plain parents), static and class methods without the axes.

Methods that a decorator keeps where their checks could not be inserted are found by their code.
"""

from __future__ import annotations

import dis
import gc
import sys
import typing
from collections.abc import Callable, Collection, Iterator
from traceback import walk_stack
from types import CodeType, FrameType, FunctionType
from typing import Any, cast

from torch import nn

from .annotations.class_scope import ClassScope
from .codegen.annotated_lines import annotates_tensors, innermost
from .codegen.copy_function import raise_hidden
from .contract import builder_of, contract_of, enforce, is_enforced
from .descriptors import functions_of, with_functions

# These run before an instance exists whose attributes could be sizes.
_WITHOUT_INSTANCE = ("__init__", "__new__", "__init_subclass__", "__class_getitem__")
# The attribute in which a class records the methods copied from parents that are not enforced.
_COPIED = "_tn_copied_methods"


def enforce_members(
    cls: type, root: type, scope: ClassScope, check_mode: Callable[[nn.Module], None]
) -> None:
    """Enforce every method of a class with a tensor annotation, including methods inherited from mixins.

    The class has just been created; every subclass of `root` enforces its own methods.

    Raises:
        AnnotationError: a method has annotations that cannot be enforced.
    """
    codes = _method_codes(cls)
    for name, member in list(vars(cls).items()):
        hidden = _hidden_function(member, codes.get(name, []))
        _enforce_member(cls, name, member, scope, check_mode, hidden)
    copied: set[str] = set()
    for name, member, unchecked in _inherited(cls, root):
        if unchecked:
            _enforce_member(cls, name, member, scope, check_mode, None)
        else:
            setattr(cls, name, member)
        copied.add(name)
    if copied:
        setattr(cls, _COPIED, frozenset(copied))


def _enforce_member(
    cls: Any,
    name: str,
    member: Any,
    scope: ClassScope,
    check_mode: Callable[[nn.Module], None],
    hidden: FunctionType | None,
) -> None:
    overridden: Any = None if name in _WITHOUT_INSTANCE else getattr(cast(Any, super(cls, cls)), name, None)
    if isinstance(member, staticmethod | classmethod) or name in _WITHOUT_INSTANCE:
        scope = scope.without_axes()

    def enforced(function: FunctionType) -> FunctionType:
        if not (
            name == "forward"
            or name.startswith("forward_")
            or contract_of(function)
            or builder_of(overridden)
            or annotates_tensors(hidden or function, cls)
        ):
            return function
        guard = check_mode if name == "forward" and function is member else None
        return enforce(function, scope=scope, check_mode=guard, overridden=overridden, hidden=hidden)

    if hidden is not None and not functions_of(member) and annotates_tensors(hidden, cls):
        raise_hidden(hidden)
    checked = with_functions(member, enforced)
    if checked is not member:
        setattr(cls, name, checked)


def _inherited(cls: type, root: type) -> Iterator[tuple[str, Any, bool]]:
    """Yield inherited members to set on the class, and whether they are annotated but not enforced.

    A class copies annotated methods of parents that are not enforced. In a subclass with several bases,
    another method may precede the original in the MRO, so methods that a copy would hide are set too.
    """
    bases = cls.__mro__[1:]
    copies = frozenset[str]().union(*(vars(base).get(_COPIED, ()) for base in bases))
    seen = set(vars(cls))
    for base in bases:
        package = base.__module__.split(".")[0]
        foreign = not issubclass(base, root) and package not in ("builtins", "torch", "typing", "abc")
        if not (foreign or copies):
            seen.update(vars(base))
            continue
        for name, member in list(vars(base).items()):
            if name in seen or name in vars(base).get(_COPIED, ()):
                continue
            seen.add(name)
            annotated = foreign and any(annotates_tensors(f, cls) for f in functions_of(member))
            if annotated or name in copies:
                yield name, member, annotated


def _method_codes(cls: type) -> dict[str, list[CodeType]]:
    """Return the code of the functions in the body of a class that is being created, by name."""
    body, found = _body_of(cls), dict[str, list[CodeType]]()
    for code in body.co_consts if body else ():
        if isinstance(code, CodeType) and code.co_qualname == f"{cls.__qualname__}.{code.co_name}":
            found.setdefault(code.co_name, []).append(code)
    return found


def _body_of(cls: type) -> CodeType | None:
    for frame, _ in walk_stack(sys._getframe(1)):  # pyright: ignore[reportPrivateUsage]
        constants = frame.f_code.co_consts
        bodies = [b for b in constants if isinstance(b, CodeType) and b.co_qualname == cls.__qualname__]
        if bodies:
            return bodies[0] if len(bodies) == 1 else _last_loaded(bodies, frame)
    return None


def _last_loaded(bodies: list[CodeType], frame: FrameType) -> CodeType | None:
    """Return the body whose class statement runs, of several of one name, such as in `if` and `else`."""
    last = None
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.offset >= frame.f_lasti:
            break
        last = next((body for body in bodies if body is instruction.argval), last)
    return last


def _hidden_function(member: Any, codes: Collection[CodeType]) -> FunctionType | None:
    """Return the function that a decorator has replaced by another one, without `__wrapped__`; else None.

    The codes are those of what the body of the class defines under the name of the member.
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
