"""`tn.contract`: what it accepts and refuses, how it looks through decorators, and how it removes those of
jaxtyping and beartype.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

import jaxtyping
from torch import nn

from .annotations.axis_names import names_in
from .annotations.class_scope import NO_CLASS, ClassScope
from .annotations.resolve_names import NameResolver
from .builder import BUILDER, CONTRACT, FunctionBuilder
from .classes import enforce_class
from .codegen.copy_function import reaches, replace_wrapped
from .codegen.syntax import collection_paused
from .descriptors import HOLDERS, with_functions
from .runtime import FunctionContract

F = TypeVar("F", bound=Callable[..., Any])

# Functions that have a checked version.
_enforced: weakref.WeakSet[FunctionType] = weakref.WeakSet()


def contract(function: F) -> F:
    """Enforce the annotations of a function, a method or a class: arguments, return values, annotated lines.

    Axis names are shared within one call. Use it on plain functions, and on methods of classes that are not
    `tinynets.Module`, which enforces its own. It goes above or below `@property`, `@staticmethod`,
    `@functools.lru_cache` and the like, and accepts partials. On a class, it enforces the methods of its body
    that have a tensor annotation, and the fields of a dataclass or named tuple when one is made.

    Raises:
        jaxtyping.AnnotationError: when decorating, if an annotation cannot be enforced as written.
        TypeError: the argument is not a function, method or class, or is a class without tensor annotations.
        ContractError: when called, if a value does not match: ShapeError or DtypeError for a shape or dtype.

    Examples:
        >>> @tn.contract
        ... def center(points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 3"]:
        ...     return points - points.mean(0)
        >>> center(torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """
    if isinstance(function, type):
        return cast(F, enforce_class(function, enforce))
    if not isinstance(function, (FunctionType, *HOLDERS)):
        raise TypeError(f"contract decorates functions, methods and classes, got {type(function).__name__}")
    return cast(F, with_functions(function, enforce))


def contract_of(function: Any) -> FunctionContract | None:
    """Return the record that `contract` has attached to a function, or None."""
    return getattr(function, CONTRACT, None)


def builder_of(function: Any) -> FunctionBuilder | None:
    """Return the builder of a checked function, or None."""
    return getattr(function, BUILDER, None)


def is_enforced(function: FunctionType) -> bool:
    """Whether a function has a checked version."""
    return function in _enforced


def enforce(
    function: FunctionType,
    *,
    scope: ClassScope = NO_CLASS,
    check_mode: Callable[[nn.Module], None] | None = None,
    overridden: FunctionType | None = None,
    hidden: FunctionType | None = None,
    decorated: bool = False,
) -> FunctionType:
    """Return the function with its checks compiled into it.

    Under a decorator (`@torch.no_grad()`), the decorated function is checked. A decorator of jaxtyping or
    beartype is removed, since it would only repeat the checks.

    Args:
        function: the function; one that is already enforced is rebuilt from its original.
        scope: the class of a method and its axes.
        check_mode: called with the module under `torch.inference_mode()`, for the `forward` of a module.
        overridden: the enforced method of the base class, which supplies the annotations that this one omits.
        hidden: the function under decorators that do not set `__wrapped__`.
        decorated: whether a decorator is called in place of this function.
    """
    wrapped = hidden or getattr(function, "__wrapped__", None)
    if isinstance(wrapped, FunctionType):
        replaces = _is_type_checker(function)
        checked = enforce(
            wrapped,
            scope=scope,
            check_mode=check_mode,
            overridden=overridden,
            decorated=decorated or not replaces,
        )
        if replaces and checked is not wrapped:
            return checked
        if contract_of(wrapped) is not None and not reaches(function, wrapped):
            return _left_as_it_is(function, wrapped, scope)
        return replace_wrapped(function, wrapped, checked)
    known = contract_of(function)
    original = cast(FunctionType, known.original if known else function)
    # In a module that `install_import_hook` has instrumented, the compiled source differs from the file.
    package: Any = original.__globals__.get("_tn_package")
    with collection_paused():
        checked = FunctionBuilder(
            original,
            NameResolver(original.__globals__, original, scope.owner),
            contract=contract,
            scope=scope,
            check_mode=check_mode,
            overridden=builder_of(overridden),
            decorated=decorated,
            source=package.release(original) if package else None,
        ).build()
    _enforced.add(original)
    return checked


def _left_as_it_is(decorator: FunctionType, checked: FunctionType, scope: ClassScope) -> FunctionType:
    """Return a decorator unchanged whose reference to a checked function cannot be replaced."""
    record = cast(FunctionContract, contract_of(checked))
    names = names_in(site.spec for site in record.sites) & (scope.axes | scope.optional_axes)
    if names:
        raise jaxtyping.AnnotationError(
            f"{checked.__qualname__}: its decorator does not hold it in a closure, so the axis"
            f" {sorted(names)[0]!r} cannot be that of the class; write {{self.{sorted(names)[0]}}}"
        )
    return decorator


def _is_type_checker(decorator: FunctionType) -> bool:
    """Whether a decorator is from jaxtyping or beartype, which check what the contract checks."""
    module = cast(Any, jaxtyping).jaxtyped.__module__
    made_by_jaxtyping = decorator.__globals__.get("__name__") == module
    return made_by_jaxtyping or decorator.__code__.co_filename.startswith("<@beartype(")
