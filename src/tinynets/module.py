"""`tinynets.Module`: an `nn.Module` whose annotated `forward` is enforced."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from torch import nn

from .contract.enforce import contract_of, enforce
from .modes import guard

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

if TYPE_CHECKING:

    class _HasForward(Protocol[P, R_co]):
        def forward(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    class _TypedCall:
        """Gives `model(x)` the signature of `forward`: plain `nn.Module` says `Any` (pytorch#45414)."""

        def __get__(self, instance: _HasForward[P, R], owner: Any = None) -> Callable[P, R]: ...


class Module(nn.Module):
    """An `nn.Module` whose subclasses' annotated `forward` is enforced on every call.

    Arguments, return value and every annotated line of `forward`, and of methods named `forward_...`, are
    checked against their jaxtyping annotations, with axis names shared by everything in one call. An `int`
    declared in the class body (`num_classes: int`) is an axis name too: it stands for the attribute of the
    instance. A method that overrides another without annotations inherits them.

    Raises:
        jaxtyping.AnnotationError: when the class is created, if an annotation could not be enforced.
        ShapeError, DtypeError, ContractError: when called with, or computing, a value that does not fit.
        ModeError: when called in training mode under `torch.inference_mode()` with layers that would then
            give random outputs or change their statistics.
    """

    if TYPE_CHECKING:
        __call__: _TypedCall = _TypedCall()  # pyright: ignore[reportIncompatibleMethodOverride]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        axes = declared_axes(cls)
        for name, method in list(vars(cls).items()):
            forward = name == "forward" or name.startswith("forward_")
            if isinstance(method, FunctionType) and (forward or contract_of(method)):
                base = getattr(super(cls, cls), name, None)
                setattr(
                    cls,
                    name,
                    enforce(
                        method, module_axes=axes, guard=guard if name == "forward" else None, overridden=base
                    ),
                )


def declared_axes(cls: type) -> frozenset[str]:
    """Return the names of the ints declared in the body of a class or of its bases."""
    return frozenset(
        name
        for base in cls.__mro__
        if base not in nn.Module.__mro__
        for name, hint in inspect.get_annotations(base).items()
        if hint is int or hint == "int"
    )
