"""The example call of `check_model`, `optimize_for_inference` and proofs, from tensors, shapes, tuples or
`make_inputs=`: how the batch axis is inferred or given by `batch_axes=`, and which axes are free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from .._contract.annotations.axes import Axes, Axis, AxisKind
from .._contract.annotations.class_scope import declared_axes
from .._torch.state.foreign import is_of_numpy
from .._torch.tracing import pytree
from ..errors import InputError
from .arguments import Arguments
from .axis_strings import aligned_axes, parse_shape
from .make_inputs import Inputs, argument_specs, parameters_of
from .symbolic_sizes import Sizes

BatchAxes = int | None | Sequence[int | None]

MakeInputs = Callable[[int, torch.Generator], Any]
"""Accepts the number of samples and a source of randomness, and returns the arguments of a call."""

_BATCH_NAMES = frozenset({"batch", "batch_size", "b", "n"})


def example_arguments(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], batch_axes: BatchAxes | str = "infer"
) -> Arguments:
    """Return an example call of a model.

    Args:
        model: the model to call.
        args: positional arguments: tensors, shapes such as `"batch 3 32 32"` or `"int64[batch 77]"`, or
            nothing if `forward` is annotated.
        kwargs: keyword arguments, in the same forms.
        batch_axes: the axis of samples, one for all tensors or one for each; None for no batch.
            If inferred, the axis named `batch` if axes have names; else axis 0 of every tensor whose size
            there equals that of the first one.

    Raises:
        TypeError: there are neither inputs nor annotations, or `batch_axes` does not match the inputs.
    """
    args, kwargs = _as_shapes(args), {**kwargs}
    for where, value in (*((f"inputs[{n}]", v) for n, v in enumerate(args)), *kwargs.items()):
        if is_of_numpy(value):
            raise TypeError(f"{where} is an array of NumPy: pass torch.as_tensor(array, dtype=torch.float32)")
    try:
        made_args, made_kwargs = Inputs(model, Sizes(symbolic=False), real=True).make(args, kwargs)
    except InputError as error:
        raise TypeError(
            f"inputs are needed for {type(model).__name__}: {error}".replace("explain(", "check_model(")
        ) from None
    arguments = Arguments(made_args, made_kwargs, ())
    tensors = arguments.tensors
    if not tensors and not made_args and not made_kwargs:
        raise TypeError(
            f"inputs are needed: {type(model).__name__}.forward does not say what shapes it takes;"
            ' pass tensors or shapes, as in check_model(model, "batch 3 32 32")'
        )
    written = _written(model, args, kwargs, arguments)
    axes = (
        _given_axes(batch_axes, tensors)
        if batch_axes != "infer"
        else _inferred([passed or annotated for passed, annotated in written], tensors)
    )
    aligned: list[Sequence[Axis | None]] = []
    for (passed, annotated), tensor in zip(written, tensors, strict=True):
        own = passed if annotated is None else annotated
        aligned.append((aligned_axes(own, tensor.ndim) if own else None) or [None] * tensor.ndim)
    names = _free_names(model, aligned, [annotated is not None for _, annotated in written], axes)
    called = (_name(own[axis]) for own, axis in zip(aligned, axes, strict=True) if axis is not None)
    batch_name = next(filter(None, called), "batch")
    return Arguments(made_args, made_kwargs, axes, _free(args, kwargs, len(tensors)), names, batch_name)


def _free(args: tuple[Any, ...], kwargs: Mapping[str, Any], count: int) -> frozenset[int]:
    """Return the numbers of the tensors that were made from a shape."""
    if not args and not kwargs:
        return frozenset(range(count))
    flat = [leaf for leaf in pytree.tree_leaves((args, dict(kwargs))) if isinstance(leaf, str | Tensor)]
    top = {id(value) for value in (*args, *kwargs.values()) if isinstance(value, str)}
    flat = [leaf for leaf in flat if isinstance(leaf, Tensor) or id(leaf) in top]
    return frozenset(number for number, leaf in enumerate(flat) if isinstance(leaf, str))


def _as_shapes(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert tuples of ints to shapes, batch first, if no argument is a tensor or a shape string."""
    if any(isinstance(leaf, str | Tensor) for leaf in pytree.tree_leaves(args)):
        return args
    return tuple(map(_as_shape, args))


def _as_shape(value: Any) -> Any:
    sizes = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else ()
    if not sizes or any(type(size) is not int for size in sizes):
        return cast("Any", value)
    return " ".join([f"batch={sizes[0]}", *map(str, sizes[1:])])


def made_arguments(made: Any, axes: tuple[int | None, ...] = ()) -> Arguments:
    """Return the result of a user's function as arguments: a tuple, a dict by name, or a single one."""
    if isinstance(made, Mapping):
        return Arguments((), {**made}, axes)
    return Arguments(cast("tuple[Any, ...]", made) if isinstance(made, tuple) else (made,), {}, axes)


def made_example(make: MakeInputs, batch_axes: BatchAxes | str, seed: int, size: int = 4) -> Arguments:
    """Return an example call from a user's function.

    The batch axis of each tensor is the one whose size follows the requested number of samples.

    Raises:
        TypeError: the tensors have other numbers of axes for another number of samples.
    """
    made = [made_arguments(make(n, torch.Generator().manual_seed(seed))) for n in (size, size - 1)]
    one, other = made[0].tensors, made[1].tensors
    if batch_axes != "infer":
        axes = _given_axes(batch_axes, one)
    elif [t.ndim for t in one] != [t.ndim for t in other]:
        raise TypeError(f"make_inputs makes other tensors for {size - 1} samples than for {size}")
    else:
        axes = tuple(_moved(a, b, size) for a, b in zip(one, other, strict=True))
    return Arguments(made[0].args, made[0].kwargs, axes)


def _moved(large: Tensor, small: Tensor, size: int) -> int | None:
    pairs = enumerate(zip(large.shape, small.shape, strict=True))
    return next((axis for axis, (m, n) in pairs if (m, n) == (size, size - 1)), None)


def _given_axes(batch_axes: Any, tensors: list[Tensor]) -> tuple[int | None, ...]:
    per_tensor = (
        [batch_axes] * len(tensors) if batch_axes is None or isinstance(batch_axes, int) else [*batch_axes]
    )
    if len(per_tensor) != len(tensors):
        raise TypeError(
            f"batch_axes names {len(per_tensor)} axes for {len(tensors)} tensors: give one for each, None for"
            " a tensor that the whole batch shares"
        )
    sizes: dict[int, int] = {}
    for number, (axis, tensor) in enumerate(zip(per_tensor, tensors, strict=True)):
        if axis is not None:
            if not -tensor.ndim <= axis < tensor.ndim:
                raise TypeError(
                    f"batch_axes: tensor {number} has shape {list(tensor.shape)} and no axis {axis}"
                )
            sizes[number] = tensor.shape[axis]
    if len(set(sizes.values())) > 1:
        raise TypeError(
            f"batch_axes: the tensors do not agree on the batch size: {sorted(set(sizes.values()))}"
        )
    return tuple(None if a is None else a % t.ndim for a, t in zip(per_tensor, tensors, strict=True))


def _written(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], arguments: Arguments
) -> list[tuple[Axes | None, Axes | None]]:
    """Return the axes of every tensor: from the shape that was passed, and from the annotation."""
    specs = argument_specs(model)
    names = [parameter.name for parameter in parameters_of(model)]
    if not args and not kwargs:
        args = tuple(specs[name].axes.text for name in names[: len(arguments.args)])
    written: list[tuple[Axes | None, Axes | None]] = []
    for name, value in (*zip([*names, *[""] * len(args)], args, strict=False), *kwargs.items()):
        if isinstance(value, str | Tensor):
            passed = parse_shape(value) if isinstance(value, str) else None
            written.append((passed, specs[name].axes if name in specs else None))
        else:
            written += [(None, None) for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
    return written


def _free_names(
    model: nn.Module,
    aligned: list[Sequence[Axis | None]],
    annotated: list[bool],
    batch: tuple[int | None, ...],
) -> tuple[tuple[str, ...], ...]:
    """Return the name of every axis that may have any size, from the annotation if there is one.

    It is `""` for the batch, and for axes that a number, an attribute or an expression ties to one size.
    """
    tied = {"", *_BATCH_NAMES, *declared_axes(model)}
    for axes, number in zip(aligned, batch, strict=True):
        tied.update(_name(axis) for axis in axes if axis is axes[number or 0] and number is not None)
        tied.update(*(axis.reads for axis in axes if axis))

    def free(axis: Axis | None, is_annotated: bool) -> str:
        fixed = axis is not None and axis.kind is not AxisKind.NAMED and is_annotated
        found = "" if fixed else _name(axis)
        return "" if found in tied or isinstance(getattr(model, found, None), int) else found

    return tuple(
        tuple(free(axis, is_annotated) for axis in axes)
        for axes, is_annotated in zip(aligned, annotated, strict=True)
    )


def _name(axis: Axis | None) -> str:
    """Return the name of an axis: `height`, also for `height=32`."""
    if axis is None:
        return ""
    return (
        axis.name if axis.kind is AxisKind.NAMED else axis.text.partition("=")[0] if "=" in axis.text else ""
    )


def _inferred(written: list[Axes | None], tensors: list[Tensor]) -> tuple[int | None, ...]:
    named = [_batch_axis(axes, t.ndim) for axes, t in zip(written, tensors, strict=True)]
    if any(axis is not None for axis in named):
        return tuple(named)
    if any(axes.names or any("=" in axis.text for axis in axes.axes) for axes in written if axes):
        return tuple(None for _ in named)  # the axes have names, and none of them counts samples
    first = next((t.shape[0] for t in tensors if t.ndim), None)
    return tuple(0 if t.ndim and t.shape[0] == first else None for t in tensors)


def _batch_axis(axes: Axes | None, rank: int) -> int | None:
    if axes is None:
        return None
    for index, axis in enumerate(axes.axes):
        if _name(axis).lower() in _BATCH_NAMES:
            many = axes.many_index
            return index if many is None or index < many else rank - (len(axes.axes) - index)
    return None
