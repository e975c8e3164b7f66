"""What a check is: an id, a level, and a function that looks at a `Subject` and objects, or does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .subject import Subject


class Level(StrEnum):
    """How much a check weighs: what becomes of the report when it objects."""

    MUST = "must"
    """A failure."""
    SHOULD = "should"
    """A warning."""
    CAPABILITY = "capability"
    """Reported; a failure only where `supports` declares it."""
    INFO = "info"
    """Reported, never a failure."""


@runtime_checkable
class Check(Protocol):
    """One check; the ones of this package are made by `@check`, yours may be any object like this.

    A package offers its own under the entry-point group `tinynets.checks`: each entry names a check or a
    list of them, and they run beside the built-in ones.
    """

    @property
    def id(self) -> str:
        """`group.name` or `group.name[variant]`: what reports, exemptions and pytest show."""
        ...

    @property
    def level(self) -> Level:
        """What becomes of the report when the check objects."""
        ...

    def __call__(self, subject: Subject, /, **params: Any) -> str | None:
        """Look at the subject; return a note, if any.

        Raises:
            Failure: it objects.
            Skip: it does not apply.
        """
        ...


@dataclass(frozen=True)
class ModelCheck:
    """A check made from a function by `@check`.

    Args:
        id: `group.name` or `group.name[variant]`.
        level: what becomes of the report when the check objects.
        function: takes the subject, the variant if there is one, and parameters by keyword.
        variant: what the function is called with beside the subject.
        static: whether it never calls the model; those run first.
        slow: whether it takes seconds: it runs only where slow checks are asked for.
        opt_in: whether it runs only where `supports` names it.
        valueless: whether it says something about a model on the meta device, which has shapes and no values.
    """

    id: str
    level: Level
    function: Callable[..., str | None]
    variant: Any = None
    static: bool = False
    slow: bool = False
    opt_in: bool = False
    valueless: bool = False

    def __call__(self, subject: Subject, /, **params: Any) -> str | None:
        """Call the function with the subject, its variant and parameters."""
        variant = () if self.variant is None else (self.variant,)
        return self.function(subject, *variant, **params)

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that `params=` may set, with their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


_REGISTERED: dict[str, ModelCheck] = {}


def check(
    id: str,
    level: Level,
    *,
    variants: tuple[Any, ...] = (),
    static: bool = False,
    slow: bool = False,
    opt_in: bool = False,
    valueless: bool = False,
) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    """Register a function as one check, or as one for each variant."""

    def register(function: Callable[..., str | None]) -> Callable[..., str | None]:
        for variant in variants or (None,):
            full = id if variant is None else f"{id}[{variant}]"
            _REGISTERED[full] = ModelCheck(full, level, function, variant, static, slow, opt_in, valueless)
        return function

    return register


def registered() -> Iterator[ModelCheck]:
    """Yield the checks of this package, in the order of their definition."""
    yield from _REGISTERED.values()
