"""Functions that guards call while a function runs, traced by `torch.compile` too: sizes of `*#name`, NumPy
and other arrays, and `locals()` without generated names.
"""

from __future__ import annotations

import sys
from typing import Any, cast

import torch
from jaxtyping import AbstractDtype

from ..._torch.tracing.while_tracing import has_traced_dtype
from ..annotations.specs import accepted_dtypes, has_dtype

Sizes = tuple[Any, ...]


def widen(held: Sizes | None, sizes: Sizes, broadcast: bool) -> Sizes | None:
    """Return the sizes that `*name` is bound to after another value, or None if the value does not match.

    Args:
        held: the sizes so far; `(True, sizes)` if `*#name` bound them, so that a later value may widen them.
        sizes: the sizes of the value.
        broadcast: whether the value is annotated `*#name`.
    """
    if held is None:
        return (True, sizes) if broadcast else sizes
    open_ended = len(held) == 2 and held[0] is True
    before = cast(Sizes, held[1]) if open_ended else held
    if not open_ended and not broadcast:
        return held if before == sizes else None
    together = _broadcast(before, sizes)
    if together is None:
        return None
    if not open_ended:
        return held if together == tuple(before) else None
    if broadcast:
        return True, together
    return together if together == tuple(sizes) else None


def _broadcast(first: Sizes, second: Sizes) -> Sizes | None:
    count = max(len(first), len(second))
    together: list[Any] = []
    for one, other in zip(
        (1,) * (count - len(first)) + tuple(first),
        (1,) * (count - len(second)) + tuple(second),
        strict=True,
    ):
        if one != other and one != 1 and other != 1:
            return None
        together.append(other if one == 1 else one)
    return tuple(together)


class ArrayTest:
    """Tests arrays that need not be tensors: whether they have a shape, and a dtype of one family."""

    def __init__(self, family: type[AbstractDtype]) -> None:
        self.family = family
        self.dtypes = accepted_dtypes(family)
        self.names = tuple(sorted(str(dtype).removeprefix("torch.") for dtype in self.dtypes))
        self.known: dict[Any, bool] = {}  # dtype -> whether jaxtyping accepts it
        numpy = sys.modules.get("numpy")
        self.numpy_array: type = numpy.ndarray if numpy else type(None)

    def __call__(self, value: Any) -> bool:
        """Return whether the value is an array of the family; False also if only validation can tell."""
        if isinstance(value, torch.Tensor):
            return value.dtype in self.dtypes
        if torch.compiler.is_dynamo_compiling() and isinstance(value, self.numpy_array):
            return has_traced_dtype(value, self.family.__name__, self.names)
        # Read each only once: they may be slow properties.
        if not isinstance(getattr(value, "shape", None), tuple):
            return False
        dtype = getattr(value, "dtype", None)
        if isinstance(dtype, torch.dtype):
            return dtype in self.dtypes
        try:
            return self.known[dtype]
        except KeyError:
            self.known[dtype] = fits = dtype is not None and has_dtype(dtype, self.family)
            return fits
        except TypeError:
            return False  # not hashable


def without_generated_names(names: Any) -> Any:
    """Return the result of `locals()`, `vars()` or `dir()` without the names of the checks."""
    if isinstance(names, dict):
        variables = cast("dict[str, Any]", names)
        return {name: value for name, value in variables.items() if not name.startswith("_tn_")}
    return [name for name in cast("list[str]", names) if not name.startswith("_tn_")]
