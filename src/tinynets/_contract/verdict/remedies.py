"""Suggest one remedy for an error, where the numbers support it."""

from __future__ import annotations

import re
from collections.abc import Callable
from traceback import walk_tb
from types import FrameType
from typing import Any, cast

import torch
from jaxtyping import AnnotationError
from torch import nn

from ..annotations.axes import AxisKind
from ..annotations.specs import ArraySpec, accepted_dtypes
from .validate import Bindings, Mismatch, has_shape, validate

Fits = Callable[[torch.Size], bool]


def suggest_remedy(mismatch: Mismatch, name: str, bindings: Bindings) -> list[str]:
    """Return lines that say what probably happened and what to write instead; often none.

    Args:
        mismatch: what does not fit.
        name: the value as the user's code would write it.
        bindings: the axes known before the value was checked.
    """
    if not isinstance(mismatch.spec, ArraySpec):
        return []
    value, spec = mismatch.value, mismatch.spec
    wants_tensor = isinstance(spec.array_type, type) and issubclass(torch.Tensor, spec.array_type)
    if not wants_tensor or not accepted_dtypes(spec.family):
        return []  # such as a NumPy array, or strings
    known = mismatch.known or bindings
    if not has_shape(value):
        return ["It has no shape. Make it with layout=torch.jagged, or pad it."]

    def fits(shape: torch.Size) -> bool:
        # Asked of an empty stand-in with the right dtype: only the shape is in question here.
        stand_in = torch.empty(shape, device="meta", dtype=_any_dtype_of(spec))
        try:
            return validate(spec, stand_in, known.copy()) is None
        except AnnotationError:
            return False  # computed from an axis that is not bound

    if not isinstance(value, torch.Tensor):
        return _not_a_tensor(value, name, fits)
    if not all(type(size) is int for size in value.shape):
        return []  # symbolic or ragged sizes support no arithmetic
    if mismatch.problem == "dtype":
        return _wrong_dtype(spec, value, name)
    return _wrong_shape(spec, value, name, fits)


def _any_dtype_of(spec: ArraySpec) -> torch.dtype:
    dtypes = accepted_dtypes(spec.family)
    return torch.float32 if torch.float32 in dtypes else min(dtypes, key=str)


def _not_a_tensor(value: Any, name: str, fits: Fits) -> list[str]:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if kind == "numpy.ndarray" and value.dtype.kind in "fiubc":
        return [f"A NumPy array? Convert it first: torch.from_numpy({name})."]
    if kind.startswith("PIL."):
        return ["A picture? Convert it first, such as with torchvision.transforms.functional.to_tensor."]
    if isinstance(value, list | tuple):
        return _from_list(cast("list[Any]", value), name, fits)
    return []


def _from_list(items: list[Any], name: str, fits: Fits) -> list[str]:
    shapes = {item.shape if isinstance(item, torch.Tensor) else None for item in items}
    shape = shapes.pop() if len(shapes) == 1 else None
    if shape is None:
        return []  # no tensors, or of several shapes
    if fits(torch.Size((len(items), *shape))):
        return [f"A list of tensors? Make one of them: torch.stack({name})."]
    if shape and fits(torch.Size((len(items) * shape[0], *shape[1:]))):
        return [f"A list of tensors? Make one of them: torch.cat({name})."]
    return []


def _wrong_dtype(spec: ArraySpec, value: torch.Tensor, name: str) -> list[str]:
    dtypes = accepted_dtypes(spec.family)
    if torch.float32 in dtypes and value.dtype is torch.uint8:
        return [
            f"Images straight from a file? Convert and scale first: {name}.float() / 255"
            " (scale as in training)."
        ]
    if value.dtype.is_complex:
        return []  # the conversion would drop the imaginary part
    if len(dtypes) == 1:
        return [f"Convert it: {name}.to({next(iter(dtypes))})."]
    if torch.float32 in dtypes:
        return [f"Convert it: {name}.float()."]
    if torch.int64 in dtypes:
        return [f"Indices or labels? Convert them: {name}.long()."]
    return []


def _wrong_shape(spec: ArraySpec, value: torch.Tensor, name: str, fits: Fits) -> list[str]:
    shape, rank = value.shape, value.ndim
    axes = [axis.text for axis in spec.axes.axes]
    if rank == 4 and len(axes) == 4:
        if fits(torch.Size((shape[0], shape[3], shape[1], shape[2]))):
            return [
                f"These sizes fit after {name}.permute(0, 3, 1, 2): the images look channels-last (NHWC), "
                "the model wants NCHW.",
                "Unchecked, a model that flattens would scramble pixels and channels silently.",
            ]
        channels = spec.axes.axes[1]
        if (
            shape[1] == 1
            and channels.kind is AxisKind.FIXED
            and fits(torch.Size((shape[0], channels.size, *shape[2:])))
        ):
            return [f"Grey images? Repeat the channel: {name}.expand(-1, {channels.size}, -1, -1)."]
        has_mean = value.dtype.is_floating_point or value.dtype.is_complex
        if has_mean and shape[1] == 3 and fits(torch.Size((shape[0], 1, *shape[2:]))):
            return [f"Colour images? Reduce them to one channel: {name}.mean(1, keepdim=True)."]
        height, width = spec.axes.axes[2:]
        if height.kind is width.kind is AxisKind.FIXED and fits(
            torch.Size((*shape[:2], height.size, width.size))
        ):
            return [f"Resize or crop the images to {height.size}x{width.size}."]
    if rank == len(axes) - 1 and fits(torch.Size((1, *shape))):
        first = spec.axes.axes[0].text
        if spec.axes.axes[0].kind is AxisKind.FIXED:
            return [f"These sizes fit after {name}.unsqueeze(0)."]
        return [
            f'Every axis but "{first}" fits. One sample? Add the axis: {name}.unsqueeze(0).',
            f'Unchecked, the first axis would be taken for "{first}".',
        ]
    if rank == len(axes) + 1:
        for place, size in enumerate(shape):
            if size == 1 and fits(torch.Size((*shape[:place], *shape[place + 1 :]))):
                return [f"These sizes fit without axis {place}, which is 1: {name}.squeeze({place})."]
    if rank == len(axes) >= 2 and fits(torch.Size((*shape[:-2], shape[-1], shape[-2]))):
        return [f"These sizes fit after {name}.mT: the last two axes look swapped."]
    return []


def module_fact(owner: Any, attributes: list[str], mismatch: Mismatch, axis_name: str) -> list[str]:
    """Name the layer in the failing line whose output has the size that came.

    Args:
        owner: the module whose line failed.
        attributes: attributes of the module that the line reads.
        mismatch: a tensor whose size does not match on one axis.
        axis_name: name of that axis.
    """
    if mismatch.axis is None or mismatch.path:
        return []  # which layer made one item of a container cannot be told
    shape, axis = tuple(mismatch.value.shape), mismatch.axis
    size = shape[axis]
    if shape.count(size) > 1 and axis != len(shape) - 1:
        return []  # another axis may be the one that the layer made
    for attribute in attributes:
        layer = getattr(owner, attribute, None)
        if not isinstance(layer, nn.Module):
            continue
        produced = getattr(layer, "out_features", getattr(layer, "out_channels", None))
        if produced is None or produced != size:
            continue
        takes = getattr(layer, "in_features", getattr(layer, "in_channels", "?"))
        fact = f"{attribute} is {type(layer).__name__}({takes}, {produced})"
        if axis_name == "num_classes":
            return [f"{fact}: was it replaced, or loaded from a checkpoint with {produced} classes?"]
        return [f"{fact}, which gives this size. Fix {attribute} or the declaration."]
    return []


_MATMUL = re.compile(r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)")
_ONE_VALUE = "Expected more than 1 value per channel when training"


def torch_remedy(error: Exception) -> list[str]:
    """Return lines that say what to do about an error of torch, if its message is a known one."""
    message = str(error)
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if found := _MATMUL.search(message):
        return _transpose_remedy(frames, *map(int, found.groups()))
    # GroupNorm has the same words for another problem, and no mode that avoids it.
    if _ONE_VALUE in message and any(frame.f_code.co_name == "batch_norm" for frame in frames):
        return [
            "BatchNorm cannot train on one value per channel: here, one image whose map is 1x1 (or one row).",
            "Use larger batches (drop_last=True in the DataLoader) or larger images,",
            "or put BatchNorm in eval mode: with tn.frozen(model.part).",
        ]
    return []


def _transpose_remedy(frames: list[FrameType], rows: int, inner: int, other: int, columns: int) -> list[str]:
    """Say which operand of a failed matrix product would fit transposed, if one would."""
    if frames and isinstance(frames[-1].f_locals.get("self"), nn.Linear):
        return []  # nobody transposes the weight of a layer
    if inner == columns:
        return ["The sizes fit if the second operand is transposed (.mT)."]
    # Torch folds the batch axes of the first operand into its rows, and then transposing does not help.
    values = [value for frame in frames for value in frame.f_locals.values()]
    unfolded = any(isinstance(value, torch.Tensor) and value.shape == (rows, inner) for value in values)
    if rows == other and unfolded:
        return ["The sizes fit if the first operand is transposed (.mT)."]
    return []
