"""Which objects are not state of a model, so that its walk does not look into them: plain values, and objects
of the standard library and torch; and which belong to NumPy.
"""

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

# The standard-library modules with containers. Others are skipped: a logger leads to all loggers.
_CONTAINER_MODULES = frozenset({"argparse", "collections", "types", "weakref"})


def is_foreign(value: object) -> bool:
    """Return whether an object belongs to Python or torch, not to a model."""
    if isinstance(value, dict | list | deque | set | tuple | Tensor | nn.Module | torch.Generator | partial):
        return False
    return isinstance(value, MappingProxyType | type) or is_foreign_module(type(value).__module__, "torch._")


def is_foreign_module(name: str, torch_prefix: str = "torch.") -> bool:
    """Return whether a Python module, by its name, belongs to the standard library or to torch."""
    top = name.partition(".")[0]
    library = top in sys.stdlib_module_names and top not in _CONTAINER_MODULES
    return library or name.startswith(torch_prefix)


def is_of_numpy(value: object) -> bool:
    """Return whether an object is a NumPy array or random generator."""
    numpy = sys.modules.get("numpy")
    kinds = () if numpy is None else (numpy.ndarray, numpy.random.Generator, numpy.random.RandomState)
    return isinstance(value, kinds)


def has_attribute(value: object, name: str) -> bool:
    """Return whether the class of an object has an attribute; `hasattr` on the object runs `__getattr__`."""
    return hasattr(type(value), name)
