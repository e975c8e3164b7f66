"""Describe in a few words what a value is (`float32 [2 3]`, at most 3 items of a list, no tensor values) and
what a spec requires: `got` and `expected` of an error.
"""

from __future__ import annotations

from typing import Any, cast

import torch

from ..annotations.specs import (
    Anything,
    ArraySpec,
    FieldsSpec,
    ItemsSpec,
    MappingSpec,
    PlainSpec,
    Spec,
    TupleSpec,
    UnionSpec,
)
from .validate import has_shape

_SEQUENCES: tuple[type, ...] = (list, tuple)
_CONTAINERS = (*_SEQUENCES, dict, set)
_SHOWN_ITEMS = 3  # of a list or tuple


def dtype_name(value: Any) -> str:
    """Return `float32` for a tensor or array of that dtype."""
    return str(value.dtype).removeprefix("torch.")


def description(value: Any) -> str:
    """Describe a value by its type, dtype and shape, without numbers from inside a tensor."""
    if not has_shape(value):
        return f"nested {dtype_name(value)} tensor of strided layout"
    if isinstance(value, torch.Tensor):
        return f"{dtype_name(value)} [{' '.join(map(str, value.shape))}]"
    kind = cast(Any, type(value))
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{name} {dtype_name(value)} {list(value.shape)}"
    if isinstance(value, _CONTAINERS):
        return f"{name} of {_items_text(value)}"
    if value is None or isinstance(value, int | float | bool):
        return repr(value)
    return name


def _items_text(items: Any) -> str:
    count = len(items)
    if not count or not isinstance(items, _SEQUENCES):
        return f"{count} item{'' if count == 1 else 's'}"
    first: list[object] = list(items[:_SHOWN_ITEMS])
    shown = [kind.__name__ if issubclass(kind := type(x), _CONTAINERS) else description(x) for x in first]
    return f"{count} ({', '.join(shown + ['...'] * (count > _SHOWN_ITEMS))})"


def expectation(spec: Spec) -> str:
    """Describe what a spec requires."""
    match spec:
        case ArraySpec():
            array = (
                "" if spec.array_type is torch.Tensor else f"{getattr(spec.array_type, '__name__', 'array')} "
            )
            return f"{array}{spec.family.__name__.lower()} [{spec.axes.text}]"
        case PlainSpec():
            hint: Any = spec.hint
            return hint.__name__ if isinstance(hint, type) else repr(hint).replace("typing.", "")
        case UnionSpec():
            return " or ".join(map(expectation, spec.arms))
        case TupleSpec():
            return f"tuple of {len(spec.items)}: " + ", ".join(map(expectation, spec.items))
        case ItemsSpec():
            return f"{spec.container.__name__} of {expectation(spec.item)}"
        case MappingSpec():
            return f"{spec.container.__name__} of {expectation(spec.key)} to {expectation(spec.value)}"
        case FieldsSpec():
            names = ", ".join(name for name, _ in spec.fields)
            return f"{spec.container.__name__} with {'keys' if spec.by_key else 'fields'} {names}"
        case Anything():
            return "anything"
