"""Match values against types without tensors, as beartype does: `float` accepts an int, symbolic sizes are
ints, and a name imported for type checkers only warns.
"""

from __future__ import annotations

import typing
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

# `float` accepts an int, and `complex` both (PEP 484). While torch.export traces, sizes and `int` arguments
# may be symbolic.
_ACCEPTED: dict[Any, tuple[type, ...]] = {
    int: (int, torch.SymInt),
    float: (float, int, torch.SymFloat, torch.SymInt),
    complex: (complex, float, int),
    bool: (bool, torch.SymBool),
}


class LaterName(type):
    """Stand-in for a class in a hint that is defined after the function, or imported for type checkers only.

    An instance is a class, so that it can be an operand of `|` and an argument of `list[...]`.
    """

    look_up: Callable[[], Any]  # returns the hint; raises an Exception while it does not exist

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        owner = cls.look_up
        return later_name(f"{cls.__name__}.{name}", lambda: getattr(owner(), name))

    def __getitem__(cls, arguments: Any) -> Any:
        several: tuple[Any, ...] = arguments if isinstance(arguments, tuple) else (arguments,)  # pyright: ignore
        if any(isinstance(argument, str) or argument is torch.Tensor for argument in several):
            raise TypeError(f"{cls.__name__} does not exist yet; define or import it before")
        return cls

    def exists(cls) -> bool:
        """Whether the name exists by now."""
        try:
            cls.look_up()
        except (NameError, AttributeError):
            return False
        return True

    def __instancecheck__(cls, value: Any) -> bool:
        if not cls.exists():
            warnings.warn(
                f"{cls.__name__} is imported for type checkers only, so what is annotated with it is not"
                " enforced; import it at run time",
                stacklevel=2,
            )
            return True
        hint = cls.look_up()
        try:
            return matches_hint(value, hint)
        except Exception:
            return True  # beartype cannot check it


def later_name(text: str, look_up: Callable[[], Any]) -> LaterName:
    """Return a stand-in for a name of the source."""
    return LaterName(text, (), {"look_up": staticmethod(look_up)})


def has_missing_names(hint: Any) -> bool:
    """Whether a hint has names that do not exist yet."""
    if isinstance(hint, LaterName):
        return not hint.exists()
    return any(map(has_missing_names, typing.get_args(hint)))


def classes_of(hint: Any) -> Any:
    """Return the second argument for `isinstance`; `int` includes `torch.SymInt`, and so on."""
    return _ACCEPTED.get(hint, hint)


def is_class(hint: Any) -> bool:
    """Whether `isinstance` agrees with beartype for this hint, and can be traced."""
    return (
        isinstance(hint, type)
        and not isinstance(hint, LaterName)
        and not hasattr(hint, "__args__")
        and not getattr(hint, "_is_protocol", False)
    )


def matches_hint(value: Any, hint: Any) -> bool:
    """Whether a value matches a hint, says beartype, which raises for a hint that it does not support."""
    if hint is None:
        return value is None
    if is_class(hint):
        return isinstance(value, classes_of(hint))
    return _beartype()(value, hint)


@lru_cache(maxsize=1)
def _beartype() -> Callable[[Any, Any], bool]:
    # Imported on first use: it takes longer to import than the rest of tinynets, and few forwards need it.
    from beartype import BeartypeConf
    from beartype.door import is_bearable

    configuration = BeartypeConf(is_pep484_tower=True)
    return lambda value, hint: is_bearable(value, hint, conf=configuration)
