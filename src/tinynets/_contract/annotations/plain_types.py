"""Match values against types without tensors in them, as beartype does."""

from __future__ import annotations

from typing import Any

import torch

# While torch.export traces, sizes and `int` arguments may be symbolic.
_WITH_SYMBOLIC: dict[Any, tuple[type, type]] = {
    int: (int, torch.SymInt),
    float: (float, torch.SymFloat),
    bool: (bool, torch.SymBool),
}


def classes_of(hint: Any) -> Any:
    """Return the second argument for `isinstance`; `int` includes `torch.SymInt`, and so on."""
    return _WITH_SYMBOLIC.get(hint, hint)


def is_class(hint: Any) -> bool:
    """Whether `isinstance` decides for this hint just as beartype would."""
    return (
        isinstance(hint, type) and not hasattr(hint, "__args__") and not getattr(hint, "_is_protocol", False)
    )


def matches_hint(value: Any, hint: Any) -> bool:
    """Whether a value matches a hint, according to beartype.

    Raises:
        Exception: beartype does not support the hint.
    """
    if hint is None:
        return value is None
    if is_class(hint):
        return isinstance(value, classes_of(hint))
    # Imported on first use: it takes longer to import than the rest of tinynets, and few forwards need it.
    from beartype.door import is_bearable

    return is_bearable(value, hint)
