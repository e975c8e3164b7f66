"""Suggest one remedy for a value that an annotation rejects: channels-last or grey images, a missing batch
axis, uint8, NumPy arrays, lists, swapped axes, the layer that gives this size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import AnnotationError
from torch import nn

from ..annotations.axes import Axis, AxisKind
from ..annotations.specs import ArraySpec, accepted_dtypes
from .validate import Bindings, Mismatch, has_shape, validate

Fits = Callable[[tuple[int, ...]], bool]


def suggest_remedy(mismatch: Mismatch, name: str, bindings: Bindings) -> list[str]:
    """Return lines that say what probably happened and what to write instead; often there are none.

    The value has the name that the user's code would write; the axes are those known before it was checked.
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

    def fits(shape: tuple[int, ...]) -> bool:
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
    return _wrong_shape(spec, value, name, fits, [_size(axis, known) for axis in spec.axes.axes])


def _size(axis: Axis, known: Bindings) -> int | None:
    """Return the size that an axis must have, or None if it is free or not a single number."""
    if axis.kind is AxisKind.FIXED:
        return axis.size
    size = known.get(axis.name) if axis.kind is AxisKind.NAMED else None
    return size if type(size) is int else None


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
    shapes = [item.shape if isinstance(item, torch.Tensor) else None for item in items]
    shape = shapes[0] if shapes else None
    if shape is None:
        return []
    if len(set(shapes)) > 1:
        if len(items) == 2 and fits(shape):
            return [f"A batch of a DataLoader, with its labels? Pass the first item: {name}[0]."]
        return []
    if fits((len(items), *shape)):
        return [f"A list of tensors? Make one of them: torch.stack({name})."]
    if shape and fits((len(items) * shape[0], *shape[1:])):
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


def _wrong_shape(
    spec: ArraySpec, value: torch.Tensor, name: str, fits: Fits, sizes: list[int | None]
) -> list[str]:
    rank = value.ndim
    if rank == 4 and len(sizes) == 4 and (remedy := _wrong_images(value, name, fits, sizes)):
        return remedy
    if rank < len(sizes) and (remedy := _too_few_axes(spec, value, name, fits, sizes)):
        return remedy
    if rank == len(sizes) + 1:
        for place, size in enumerate(value.shape):
            if size == 1 and fits((*value.shape[:place], *value.shape[place + 1 :])):
                return [f"These sizes fit without axis {place}, which is 1: {name}.squeeze({place})."]
    if rank == len(sizes) >= 2 and fits((*value.shape[:-2], value.shape[-1], value.shape[-2])):
        return [f"These sizes fit after {name}.mT: the last two axes look swapped."]
    return []


def _wrong_images(value: torch.Tensor, name: str, fits: Fits, sizes: list[int | None]) -> list[str]:
    shape, (_, channels, height, width) = value.shape, sizes
    if fits((shape[0], shape[3], shape[1], shape[2])):
        return [
            f"These sizes fit after {name}.permute(0, 3, 1, 2): the images look channels-last (NHWC), "
            "the model wants NCHW.",
            "Unchecked, a model that flattens would scramble pixels and channels silently.",
        ]
    if shape[1] == 1 and channels is not None and fits((shape[0], channels, *shape[2:])):
        return [f"Grey images? Repeat the channel: {name}.expand(-1, {channels}, -1, -1)."]
    has_mean = value.dtype.is_floating_point or value.dtype.is_complex
    if has_mean and shape[1] == 3 and fits((shape[0], 1, *shape[2:])):
        return [f"Colour images? Reduce them to one channel: {name}.mean(1, keepdim=True)."]
    if height is not None and width is not None and fits((*shape[:2], height, width)):
        return [f"Resize or crop the images to {height}x{width}."]
    return []


def _too_few_axes(
    spec: ArraySpec, value: torch.Tensor, name: str, fits: Fits, sizes: list[int | None]
) -> list[str]:
    shape, rank, wanted = value.shape, value.ndim, len(sizes)
    if rank == wanted - 1:
        if fits((1, *shape)):
            first = spec.axes.axes[0].text
            if sizes[0] is not None:
                return [f"These sizes fit after {name}.unsqueeze(0)."]
            return [
                f'Every axis but "{first}" fits. One sample? Add the axis: {name}.unsqueeze(0).',
                f'Unchecked, the first axis would be taken for "{first}".',
            ]
        for place in range(1, wanted):
            if sizes[place] == 1 and fits((*shape[:place], 1, *shape[place:])):
                what = "No axis for the one channel" if wanted == 4 and place == 1 else "An axis is missing"
                return [f"{what}? Add it: {name}.unsqueeze({place})."]
    rest = [size for size in sizes[1:] if size is not None]
    flattened = rank == 2 and len(rest) == wanted - 1 > 1 and shape[1] == math.prod(rest)
    if flattened and fits((shape[0], *rest)):
        return [f"Flattened? Give each sample its shape again: {name}.unflatten(1, {tuple(rest)})."]
    if rank == 2 and wanted == 4 and sizes[1] == 1 and fits((1, 1, *shape)):
        return [f"One image? Add the axes for the batch and the channel: {name}[None, None]."]
    return []


def module_fact(owner: Any, attributes: list[str], mismatch: Mismatch, axis_name: str) -> list[str]:
    """Name the layer whose output has the size that came, of the attributes that the failing line reads."""
    if mismatch.axis is None or mismatch.path:
        return []  # it is unknown which layer made an item of a container
    shape, axis = tuple(mismatch.value.shape), mismatch.axis
    size = shape[axis]
    if shape.count(size) > 1 and axis != len(shape) - 1:
        return []  # the layer may have produced another axis
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
