"""beartype's verdict on types without tensors."""

from __future__ import annotations

from typing import Any

import torch

# Sizes are symbolic while torch.export traces; an `int` argument may be, too.
_WITH_SYMBOLIC: dict[Any, tuple[type, type]] = {
    int: (int, torch.SymInt),
    float: (float, torch.SymFloat),
    bool: (bool, torch.SymBool),
}


def classes_of(hint: Any) -> Any:
    """Return what `isinstance` must be asked for a class: with `int`, its symbolic sister too."""
    return _WITH_SYMBOLIC.get(hint, hint)


def is_class(hint: Any) -> bool:
    """Whether a hint is a class for which `isinstance` says all that beartype would."""
    return (
        isinstance(hint, type) and not hasattr(hint, "__args__") and not getattr(hint, "_is_protocol", False)
    )


def is_bearable(value: Any, hint: Any) -> bool:
    """Ask beartype whether a value fits a hint.

    Raises:
        Exception: of beartype's own, if it does not know the hint.
    """
    if hint is None:
        return value is None
    if is_class(hint):
        return isinstance(value, classes_of(hint))
    # Imported when first needed: it takes longer than all the rest of tinynets, and few forwards need it.
    from beartype.door import is_bearable as ask

    return ask(value, hint)
