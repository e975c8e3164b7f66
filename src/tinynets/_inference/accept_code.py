"""The input tests of a straight line: the dtypes, devices, layouts (contiguous, channels last), sizes and
constants that it accepts, and the arguments for which none can be written.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .trace import Trace

# The names in the source besides weights, arguments, sizes and operators. Python functions are reserved only
# if the source may call them: torch's own modules name their argument `input`, and passing it by name is 10
# us faster.
RESERVED = frozenset(
    """abs any bool float int len list map max min pow round slice str type
    MISS Tensor strided math checks hooks attributes traced_attributes modules module_types
    autocast autocast_state traced_autocast in_inference_mode inference compute shape args kwargs
    flatten unflatten leaves arrangement structure returned run result within_range kernels traced_kernels
    version_of versions counted pointer_of pointers copied""".split()  # noqa: SIM905
)


@dataclass
class Accept:
    """The tests of the arguments."""

    tests: list[str] = field(default_factory=list[str])  # expressions that are true for what was traced
    sizes: dict[str, str] = field(default_factory=dict[str, str])  # symbol -> variable of a free size
    constants: dict[str, Any] = field(default_factory=lambda: {"math": math})  # what the tests read


def accept_tests(trace: Trace, variables: Mapping[str, str]) -> Accept:
    """Write the tests that accept arguments like the traced ones."""
    accept = Accept()
    sizes = accept.sizes
    for placeholder, leaf in trace.leaves.items():
        name = variables[placeholder]
        if not isinstance(leaf, Tensor):
            accept.tests.append(_constant_test(name, leaf))
            continue
        dtype = str(leaf.dtype).removeprefix("torch.")
        accept.constants[dtype] = leaf.dtype
        kind = [f"type({name}) is Tensor", f"{name}.dtype is {dtype}", f"{name}.layout is strided"]
        if leaf.device.type == "cpu":
            kind.append(f"{name}.is_cpu")
        else:
            device = name_of(str(leaf.device))
            accept.constants[device] = leaf.device
            kind.append(f"{name}.device == {device}")
        kind.append(f"{name}.{_layout(leaf, accept.constants)}")
        row: list[str] = []
        for axis, size in enumerate(trace.shapes[placeholder]):
            if isinstance(size, str) and size not in sizes and size.isidentifier():
                sizes[size] = f"{name}_size{axis}"
                row.append(f"({sizes[size]} := shape[{axis}])")
            else:
                row.append(_renamed(str(size), sizes))
        shape = row_of(row)
        if any("shape[" in size for size in row):
            kind += [f"len(shape := {name}.shape) == {len(row)}", f"shape == {shape}"]
        else:
            kind.append(f"{name}.shape == {shape}")
        accept.tests.append(" and ".join(kind))
    accept.tests += [_renamed(condition, sizes) for condition in trace.conditions]
    return accept


def _renamed(source: str, sizes: Mapping[str, str]) -> str:
    return re.sub(r"\b[a-z]+\d+\b", lambda found: sizes.get(found[0], found[0]), source)


def _constant_test(name: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return f"{name} is {value}"
    if type(value) in (int, float, str) and value == value:
        return f"type({name}) is {type(value).__name__} and {name} == {value!r}"
    raise ValueError(f"it takes a {type(value).__name__} as an argument")


def _layout(tensor: Tensor, constants: dict[str, Any]) -> str:
    if tensor.is_contiguous():
        return "is_contiguous()"
    for layout, rank in ((torch.channels_last, 4), (torch.channels_last_3d, 5)):
        if tensor.ndim == rank and tensor.is_contiguous(memory_format=layout):
            name = str(layout).removeprefix("torch.")
            constants[name] = layout
            return f"is_contiguous(memory_format={name})"
    raise ValueError("an argument is a view of a larger tensor")


def row_of(items: list[str]) -> str:
    """Write a tuple."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def free_name(name: str, taken: Container[str]) -> str:
    """Return a name that is like another, and not taken."""
    while name in taken:
        name += "_"
    return name


def name_of(path: str) -> str:
    """Return a path as an unused identifier."""
    name = re.sub(r"\W", "_", path)
    name = name if name.isidentifier() else f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in RESERVED else name
