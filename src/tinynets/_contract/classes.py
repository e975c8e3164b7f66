"""`tn.contract` on a class: which methods of its body are checked, the fields of new instances of a dataclass
or named tuple, and the error for a class without a tensor annotation.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from types import FunctionType
from typing import Any

from .annotations.class_scope import class_scope
from .annotations.parse_hints import has_tensors
from .builder import CONTRACT
from .codegen.annotated_lines import annotated_lines, annotates_tensors
from .descriptors import with_functions


def enforce_class(cls: Any, enforce: Callable[..., FunctionType]) -> type:
    """Enforce what the body of a class annotates, and return it; raise TypeError if that is nothing."""
    scope, found = class_scope(cls, annotated_lines), False
    maker = "__new__" if tuple in cls.__mro__ else "__init__"
    members: dict[str, Any] = dict(cls.__dict__)
    parameters = members.get("__dataclass_params__")
    generated = "_fields" in members or (parameters is not None and parameters.init)
    for name, member in members.items():
        of_class = isinstance(member, staticmethod | classmethod) or name in ("__init__", "__new__")
        inner = scope.without_axes() if of_class else scope

        def checked(function: FunctionType, inner: Any = inner) -> FunctionType:
            nonlocal found
            known = getattr(function, CONTRACT, None)
            if known is None and not annotates_tensors(function, cls):
                return function
            found = True
            of_another = known is not None and known.scope.owner is not None
            return function if of_another else enforce(function, scope=inner)

        if name == maker and generated:
            continue  # its arguments are the fields, some of which it creates itself
        changed = with_functions(member, checked)
        if changed is not member:
            setattr(cls, name, changed)
    if has_tensors(cls) and not typing.is_typeddict(cls):  # its instances are dicts
        found = True
        _check_new_ones(cls, maker, functools.partial(enforce, scope=scope))
    if not found:
        raise TypeError(
            f"contract({cls.__qualname__}): it has no method and no dataclass field with a tensor annotation"
            " (@contract goes above @dataclass)"
        )
    return cls


def _check_new_ones(cls: Any, maker: str, enforce: Callable[[FunctionType], FunctionType]) -> None:
    """Check the fields of each new instance, once `__init__` or `__new__` has set them."""
    check = FunctionType(_take.__code__, globals(), cls.__qualname__)
    check.__qualname__, check.__module__ = cls.__qualname__, cls.__module__
    check.__annotations__ = {"self": cls}
    check = enforce(check)
    original = getattr(cls, maker)

    @functools.wraps(original)
    def checked(first: Any, *args: Any, **kwargs: Any) -> Any:
        made = original(first, *args, **kwargs)
        check(first if made is None else made)
        return made

    setattr(cls, maker, checked)


def _take(self: Any) -> None:
    pass
