"""The backends `"aoti"` and `"onnxruntime"`: what each requires (a C++ compiler, packages, the CPU) and its
error, whether it copies the weights, and how it compiles a trace.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor, nn

from .._torch.tracing.exported_graph import program_of_tensors
from .._torch.tracing.inductor import compile_list
from .._torch.tracing.onnx_exporter import to_onnx
from .trace import Trace

_COMPILERS = ("g++", "clang++", "cl")


@dataclass(frozen=True)
class Backend:
    """One compiler."""

    title: str  # its name in prose
    copies_weights: bool  # whether a program has weights of its own, as they were when it was compiled
    takes_arrays: bool  # whether a program takes arrays of NumPy, rather than tensors
    require: Callable[[nn.Module], None]  # raises where it cannot be had for a model
    # Makes a function of a list, of what those placeholders of the trace stand for; it returns one tensor, or
    # several.
    compile: Callable[[Trace, Sequence[str]], Callable[[list[Any]], Any]]


def backend_of(name: str) -> Backend:
    """Return a backend by its name.

    Raises:
        ValueError: there is no such backend.
    """
    if name not in _BACKENDS:
        known = " or ".join(f'"{known}"' for known in _BACKENDS)
        raise ValueError(f"backend is None, for Python, or {known}, got {name!r}")
    return _BACKENDS[name]


def require_packages(reason: str) -> None:
    """Import the packages for ONNX.

    Raises:
        ModuleNotFoundError: a package is not installed; the message starts with the reason.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as missing:
            raise ModuleNotFoundError(
                f"{reason} {missing.name}: pip install 'tinynets[onnx]'", name=missing.name
            ) from None


def _require_compiler(_: nn.Module) -> None:
    if not ("CXX" in os.environ or any(map(shutil.which, _COMPILERS))):
        raise ValueError(
            f'backend="aoti" needs a C++ compiler: none of {", ".join(_COMPILERS)} is on the path'
        )


def _require_onnx(model: nn.Module) -> None:
    require_packages('backend="onnxruntime" needs')
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type != "cpu":
            raise ValueError(f'backend="onnxruntime" is for the CPU, and the model is on {tensor.device}')


def _compile_aoti(trace: Trace, taken: Sequence[str]) -> Callable[[list[Tensor]], Any]:
    values = {**trace.tensors, **trace.leaves}
    program = program_of_tensors(trace.program, taken, [values[name] for name in taken])
    with TemporaryDirectory() as folder:
        run = compile_list(folder, program)
    return run if trace.returned.num_leaves > 1 else lambda tensors: run(tensors)[0]


def _compile_onnx(trace: Trace, taken: Sequence[str]) -> Callable[[list[Any]], Any]:
    from .onnx_session import open_session

    model = to_onnx(trace.program)
    names = [value.name for value in model.graph.input]
    if names != list(taken):
        raise ValueError(f"ONNX takes {', '.join(names)}, and the model reads {', '.join(taken)}")
    return open_session(model.SerializeToString())


_BACKENDS = {
    "aoti": Backend("AOTInductor", False, False, _require_compiler, _compile_aoti),
    "onnxruntime": Backend("ONNX Runtime", True, True, _require_onnx, _compile_onnx),
}
