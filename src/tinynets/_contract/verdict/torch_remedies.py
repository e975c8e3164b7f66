"""Suggest remedies for errors of torch, for the note of `torch_note.py`: a matrix product that fits if
transposed, two dtypes, two devices, BatchNorm on one value per channel.
"""

from __future__ import annotations

import re
from traceback import walk_tb
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

_MATMUL = re.compile(r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)")
_ONE_VALUE = "Expected more than 1 value per channel when training"


# Messages of convolutions, matrix products, recurrent layers and losses about two different dtypes.
_TWO_DTYPES = re.compile(
    r"must have the same dtype|should be the same|to have the same dtype|expected scalar type", re.IGNORECASE
)
_DEVICE = re.compile(r"\bdevices?\b")


def torch_remedy(error: Exception, owner: Any, tensors: dict[str, Tensor]) -> list[str]:
    """Return lines that say how to fix an error of torch, if its message is known.

    The owner is the module whose line failed, or anything else; the tensors are in the variables of the
    failing function, arguments first.
    """
    message = str(error)
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if found := _MATMUL.search(message):
        return _transpose_remedy(frames, *map(int, found.groups()))
    if _TWO_DTYPES.search(message) and (lines := _dtype_remedy(owner, tensors)):
        return lines
    if _DEVICE.search(message) and (lines := _device_remedy(owner, tensors)):
        return lines
    # GroupNorm raises the same message for another problem, which no mode avoids.
    if _ONE_VALUE in message and any(frame.f_code.co_name == "batch_norm" for frame in frames):
        return [
            "BatchNorm cannot train on one value per channel: here, one image whose map is 1x1 (or one row).",
            "Use larger batches (drop_last=True in the DataLoader) or larger images,",
            "or put BatchNorm in eval mode: with tn.frozen(model.part).",
        ]
    return []


def _transpose_remedy(frames: list[FrameType], rows: int, inner: int, other: int, columns: int) -> list[str]:
    """Say which operand of a failed matrix product would fit if transposed, if any."""
    if frames and isinstance(frames[-1].f_locals.get("self"), nn.Linear):
        return []  # the weight of a layer is not transposed
    if inner == columns:
        return ["The sizes fit if the second operand is transposed (.mT)."]
    # Torch folds the batch axes of the first operand into its rows; then transposing does not help.
    values = [value for frame in frames for value in frame.f_locals.values()]
    unfolded = any(isinstance(value, torch.Tensor) and value.shape == (rows, inner) for value in values)
    if rows == other and unfolded:
        return ["The sizes fit if the first operand is transposed (.mT)."]
    return []


def _parameter_values(owner: Any, of: str) -> set[Any]:
    """Return the dtypes or devices of a module's parameters."""
    parameters = owner.parameters() if isinstance(owner, nn.Module) else ()
    return {getattr(parameter, of) for parameter in parameters}


def _dtype_remedy(owner: Any, tensors: dict[str, Tensor]) -> list[str]:
    """Name the first floating-point tensor whose dtype differs from the dtype of all parameters."""
    dtypes = _parameter_values(owner, "dtype")
    if len(dtypes) != 1 or torch.is_autocast_enabled():
        return []
    (dtype,) = dtypes
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype != dtype:
            code = f"{name}.float()" if dtype is torch.float32 else f"{name}.to({dtype})"
            return [f"The parameters are {str(dtype).removeprefix('torch.')}: convert the input, {code}."]
    return []


def _device_remedy(owner: Any, tensors: dict[str, Tensor]) -> list[str]:
    """List the devices of the parameters and the tensors, if there is more than one."""
    places = {f"{name} on {tensor.device}": tensor.device for name, tensor in tensors.items()}
    devices = _parameter_values(owner, "device")
    if len(devices | set(places.values())) < 2:
        return []
    if devices:
        places[f"parameters on {', '.join(sorted(map(str, devices)))}"] = next(iter(devices))
    return [f"devices: {'; '.join(places)}", "Move the model and its inputs to one device with .to(device)."]
