"""Which objects are no state of a model: plain values, and what belongs to Python or torch."""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn

PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.layout)
"""Values that cannot change, so that comparing them is enough."""

PLAIN_TYPES = frozenset(PLAIN)

# Of the standard library, only what serves as a container: a logger leads to every logger of the process.
_CONTAINER_MODULES = frozenset({"argparse", "collections", "types", "weakref"})


def is_foreign(value: object) -> bool:
    """Return whether an object is the business of Python or torch, not of a model."""
    if isinstance(value, dict | list | deque | set | tuple | Tensor | nn.Module | torch.Generator | partial):
        return False
    return isinstance(value, MappingProxyType | type) or is_foreign_module(type(value).__module__, "torch._")


def is_foreign_module(name: str, torch_prefix: str = "torch.") -> bool:
    """Return whether a module of Python, by its name, is the standard library's or torch's."""
    top = name.partition(".")[0]
    library = top in sys.stdlib_module_names and top not in _CONTAINER_MODULES
    return library or name.startswith(torch_prefix)


def is_of_numpy(value: object) -> bool:
    """Return whether an object is an array or a generator of NumPy."""
    numpy = sys.modules.get("numpy")
    kinds = () if numpy is None else (numpy.ndarray, numpy.random.Generator, numpy.random.RandomState)
    return isinstance(value, kinds)


def has_attribute(value: object, name: str) -> bool:
    """Return whether the class of an object has an attribute: asking the object runs a `__getattr__`."""
    return hasattr(type(value), name)
