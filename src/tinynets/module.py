"""`tinynets.Module`: an `nn.Module` whose annotated `forward` is enforced."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from torch import nn

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
    """An `nn.Module` whose subclasses' annotated `forward` is enforced."""

    if TYPE_CHECKING:
        __call__: _TypedCall = _TypedCall()  # pyright: ignore[reportIncompatibleMethodOverride]
