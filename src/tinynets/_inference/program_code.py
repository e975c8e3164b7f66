"""The call of a backend's program in a straight line, with the tests of its weights (shapes, strides, writes
that torch counts) and of inputs with NaN, infinite or huge values.
"""

# The types of graph nodes are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from .accept_code import free_name
from .backends import Backend
from .trace import Trace

MISS = object()
"""The return value of a straight line for arguments, or a model, that it was not traced for."""

_OF_WIDE_RANGE = (torch.float32, torch.float64)

version_of = attrgetter("_version")  # of a tensor: most in-place operations increment it


@dataclass(frozen=True)
class Body:
    """What a straight line computes."""

    lines: Sequence[str]
    outputs: list[str]  # their sources
    tests: list[str]  # what must hold for the tensors of the model
    constants: Mapping[str, Any]  # what lines and tests read


def write_program(
    trace: Trace, inputs: Mapping[str, str], read: Mapping[str, Tensor], backend: Backend
) -> Body:
    """Compile a trace, and write the call of the program.

    `inputs` maps placeholders to variables, and `read` variables to tensors of the model.

    Raises:
        ValueError: the trace cannot be compiled.
    """
    returned: Any = trace.graph.output_node().args[0]
    if not all(isinstance(getattr(node, "meta", {}).get("val"), Tensor) for node in returned):
        raise ValueError("it returns something besides tensors")
    given = [name for name in trace.read if name in trace.shapes]
    weights = [] if backend.copies_weights else [name for name in trace.read if name in trace.tensors]
    run = backend.compile(trace, [*weights, *given])
    outputs = [f"result{i or ''}" for i in range(len(returned))]
    numbers = [name for name in given if trace.leaves[name].dtype in _OF_WIDE_RANGE]
    # Variables for the values of tensors as arrays, which share their memory.
    arrays = {
        name: free_name(f"{inputs[name]}_array", inputs.values())
        for name in (given if backend.takes_arrays else numbers)
    }
    lines = [f"{array} = {inputs[name]}.numpy()" for name, array in arrays.items()]
    if numbers:
        within = " and ".join(f"within_range({arrays[name]})" for name in numbers)
        lines += [f"if not ({within}):", "    return MISS"]
    sources = {**inputs, **arrays} if backend.takes_arrays else inputs
    lines.append(f"{', '.join(outputs)} = run([{', '.join(sources[name] for name in (*weights, *given))}])")
    tests, constants = (
        _untouched(list(read.values())) if backend.copies_weights else tensor_tests(read, layouts=True)
    )
    constants.update(run=run, within_range=within_range)
    return Body(lines, outputs, tests, constants)


def tensor_tests(tensors: Mapping[str, Tensor], *, layouts: bool = False) -> tuple[list[str], dict[str, Any]]:
    """Test what forward may depend on besides the values of tensors: shapes, dtypes, with `layouts` strides.

    Returns expressions, and what they read besides the variables of the tensors.
    """
    tests: list[str] = []
    constants: dict[str, Any] = {}
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        constants[dtype] = tensor.dtype
        test = f"{name}.shape == {tuple(tensor.shape)} and {name}.dtype is {dtype}"
        if layouts:
            contiguous = f"{name}.is_contiguous()"
            strides = f"{name}.stride() == {tensor.stride()}"
            test += f" and {contiguous if tensor.is_contiguous() else strides}"
        tests.append(test)
    return tests, constants


def within_range(array: Any) -> bool:
    """Return whether the squares of the values, and their sum, are finite.

    A compiler may compute, for example, a variance by another formula, which overflows for other values; it
    may also lose NaNs.
    """
    values = array.ravel()
    return isfinite(values.dot(values))


def _untouched(tensors: list[Tensor]) -> tuple[list[str], dict[str, Any]]:
    """Write tests of whether tensors were modified, as far as torch counts versions."""
    counted = [tensor for tensor in tensors if not tensor.is_inference()]
    return [
        "[*map(version_of, counted)] == versions",
        "[*map(pointer_of, copied)] == pointers",
    ], {
        "version_of": version_of,
        "counted": counted,
        "versions": [*map(version_of, counted)],
        "pointer_of": Tensor.data_ptr,
        "copied": tensors,
        "pointers": [*map(Tensor.data_ptr, tensors)],
    }
