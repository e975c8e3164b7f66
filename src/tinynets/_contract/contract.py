"""`contract`: enforce the annotations of a function on every call."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

from torch import nn

from .builder import BUILDER, CONTRACT, FunctionBuilder
from .codegen.copy_function import replace_wrapped
from .runtime import FunctionContract

F = TypeVar("F", bound=Callable[..., Any])


def contract(function: F) -> F:
    """Enforce the annotations of a function or method: arguments, return value and annotated lines.

    Axis names are shared within one call. Use it on plain functions and on single methods; `tinynets.Module`
    applies it to `forward` and every `forward_...` by itself.

    Raises:
        jaxtyping.AnnotationError: when decorating, if an annotation could not be enforced as it stands.
        ContractError: when called, a ShapeError or DtypeError where a tensor does not fit.
    """
    if isinstance(function, staticmethod | classmethod):
        method = cast(Any, function)
        return cast(F, type(method)(contract(method.__func__)))
    if not isinstance(function, FunctionType):
        raise TypeError(f"contract decorates functions and methods, got {type(function).__name__}")
    return cast(F, enforce(function))


def contract_of(function: Any) -> FunctionContract | None:
    """Return what `contract` has attached to a function, or None."""
    return getattr(function, CONTRACT, None)


def builder_of(function: Any) -> FunctionBuilder | None:
    """Return what built a function that `contract` has checked, or None."""
    return getattr(function, BUILDER, None)


def enforce(
    function: FunctionType,
    *,
    module_axes: frozenset[str] = frozenset(),
    check_mode: Callable[[nn.Module], None] | None = None,
    overridden: FunctionType | None = None,
    decorated: bool = False,
) -> FunctionType:
    """Return the function with its checks compiled into it.

    Under a decorator (`@torch.no_grad()`), the decorated function is checked.

    Args:
        function: the function; one that is enforced already is built again from its original.
        module_axes: axes that are attributes of the first argument.
        check_mode: called with the module under `torch.inference_mode()`, for the `forward` of a module.
        overridden: the enforced method of the base class, which supplies the annotations that this one omits.
        decorated: whether a decorator is called in place of this function.
    """
    wrapped = getattr(function, "__wrapped__", None)
    if isinstance(wrapped, FunctionType):
        checked = enforce(
            wrapped, module_axes=module_axes, check_mode=check_mode, overridden=overridden, decorated=True
        )
        return replace_wrapped(function, wrapped, checked)
    known = contract_of(function)
    original = cast(FunctionType, known.original if known else function)
    # Syntax trees are many small objects that die with this call; without a pause they trigger a collection
    # of everything that torch has created, which takes longer than all the rest.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return FunctionBuilder(
            original,
            contract=contract,
            module_axes=module_axes,
            check_mode=check_mode,
            overridden=builder_of(overridden),
            decorated=decorated,
        ).build()
    finally:
        if collecting:
            gc.enable()
