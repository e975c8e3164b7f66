"""What a check is: its id, the levels (must, should, capability, info), `slow`, `opt_in`, `static`, variants
and parameters; `list_checks`, and checks of other packages by entry point.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from .subject import Subject


class Level(StrEnum):
    """The meaning of a failed check for the report."""

    MUST = "must"
    """A failure."""
    SHOULD = "should"
    """A warning."""
    CAPABILITY = "capability"
    """Reported; a failure only if `supports` declares it."""
    INFO = "info"
    """Reported, never a failure."""


@runtime_checkable
class Check(Protocol):
    """One check; `@check` makes the built-in ones, your own may be any object with these members.

    A package registers its own checks in the entry-point group `tinynets.checks`: each entry names a check or
    a list of checks, which run together with the built-in ones.
    """

    @property
    def id(self) -> str:
        """`group.name` or `group.name[variant]`: what reports, exemptions and pytest show."""
        ...

    @property
    def level(self) -> Level:
        """The meaning of a failure for the report."""
        ...

    def __call__(self, subject: Subject, /, **params: Any) -> str | None:
        """Check the subject; return a note, if any.

        Raises:
            Failure: the subject fails the check.
            Skip: the check does not apply.
        """
        ...


@dataclass(frozen=True)
class ModelCheck:
    """A check made from a function by `@check`.

    Args:
        id: `group.name` or `group.name[variant]`.
        level: the meaning of a failure for the report.
        function: called with the subject, the variant if there is one, and parameters by keyword.
        variant: a second argument of the function.
        static: whether it never calls the model; static checks run first.
        slow: whether it takes seconds; slow checks run only on request.
        opt_in: whether it runs only if `supports` names it.
        valueless: whether it also applies to a model on the meta device, which has shapes but no values.
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
    """Register a function as a check, or as one check per variant; `ModelCheck` documents the arguments.

    Examples:
        >>> @tn.testing.check("mine.small", tn.testing.Level.SHOULD, static=True)
        ... def small(subject):
        ...     if sum(p.numel() for p in subject.model.parameters()) > 1_000_000:
        ...         raise tn.testing.Failure("it has more than a million parameters")
        >>> tn.testing.check_model(model, checks="mine.small")["mine.small"].status
        <Status.PASSED: 'passed'>
    """

    def register(function: Callable[..., str | None]) -> Callable[..., str | None]:
        for variant in variants or (None,):
            full = id if variant is None else f"{id}[{variant}]"
            _REGISTERED[full] = ModelCheck(full, level, function, variant, static, slow, opt_in, valueless)
        return function

    return register


def registered() -> Iterator[ModelCheck]:
    """Yield the checks made by `@check`, in the order of their definition."""
    yield from _REGISTERED.values()


def list_checks() -> tuple[Check, ...]:
    """Return every check: the built-in ones, then those of installed packages.

    Raises:
        TypeError: an entry point of the group `tinynets.checks` holds something that is not a check.

    Examples:
        >>> [check.id for check in tn.testing.list_checks() if check.id.startswith("layout.")]
        ['layout.channels_last', 'layout.noncontiguous']
    """
    from . import checks as checks  # importing it registers them

    return (*registered(), *_offered())


@cache
def _offered() -> tuple[Check, ...]:
    found: list[Check] = []
    for entry in sorted(entry_points(group="tinynets.checks"), key=lambda entry: entry.name):
        loaded = entry.load()
        for item in loaded if isinstance(loaded, list | tuple) else (loaded,):  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(item, Check):
                raise TypeError(f"entry point {entry.name!r} ({entry.value}): {item!r} is not a Check")
            found.append(item)
    return tuple(found)
