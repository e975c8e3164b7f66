"""Enforce the members of a class body: methods, and the functions inside properties and other descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, cast

from torch import nn

from .annotations.class_scope import ClassScope
from .codegen.annotated_lines import annotates_tensors
from .codegen.copy_function import raise_hidden
from .contract import builder_of, contract_of, enforce
from .descriptors import functions_of, with_functions
from .hidden import hidden_function, method_codes

# These run before an instance exists whose attributes could be sizes.
_WITHOUT_INSTANCE = ("__init__", "__new__", "__init_subclass__", "__class_getitem__")
# The attribute in which a class records the methods copied from parents that are not enforced.
_COPIED = "_tn_copied_methods"


def enforce_members(
    cls: type, root: type, scope: ClassScope, check_mode: Callable[[nn.Module], None]
) -> None:
    """Enforce every method of a class with a tensor annotation, including methods inherited from mixins.

    Args:
        cls: a class that has just been created.
        root: the class whose subclasses enforce their own methods.
        scope: the class and its axes.
        check_mode: see `enforce`; for `forward`.

    Raises:
        AnnotationError: a method has annotations that cannot be enforced.
    """
    codes = method_codes(cls)
    for name, member in list(vars(cls).items()):
        hidden = hidden_function(member, codes.get(name, []))
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
