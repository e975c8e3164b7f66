"""Sessions of ONNX Runtime, for exported files and `backend="onnxruntime"`: on the CPU, with as many threads
as torch has, which do not spin when idle.
"""

# The types of onnxruntime are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def open_session(model: bytes) -> Callable[[list[Any]], Any]:
    """Return a function that runs an ONNX model on arrays, on the CPU; several threads may call it.

    By default, the threads of a session spin after a call, waiting for the next one.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    results = [value.name for value in session.get_outputs()]
    # The function that `session.run` calls after checking for missing inputs, which takes 2 us.
    run = getattr(session, "_sess", session).run

    def run_one(arrays: list[Any]) -> Tensor:
        return torch.from_numpy(run(results, {names[0]: arrays[0]}, None)[0])

    def run_all(arrays: list[Any]) -> Any:
        returned = tuple(map(torch.from_numpy, run(results, dict(zip(names, arrays, strict=True)), None)))
        return returned[0] if len(returned) == 1 else returned

    return run_one if len(names) == len(results) == 1 else run_all


def array_of(tensor: Tensor) -> Any:
    """Return the values of a tensor as an array, which shares the memory of a CPU tensor."""
    try:
        return tensor.numpy()
    except (RuntimeError, TypeError):  # it requires a gradient, or is on another device
        return tensor.detach().cpu().numpy()
