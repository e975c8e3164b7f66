"""Inputs of any batch size, drawn like an example: same structure, dtypes and range of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor

from .._torch.tracing import pytree


@dataclass(frozen=True)
class Arguments:
    """Positional and keyword arguments of one call, and which axis of each tensor is the batch.

    Args:
        args: positional arguments.
        kwargs: keyword arguments.
        axes: the batch axis of every tensor among them, in pytree order; None for a tensor that the whole
            batch shares.
        free: the numbers of the tensors that were given by their shape alone, so that any values will do.
        axis_names: for every tensor, the names of the axes that may have any size, `""` for the others.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    axes: tuple[int | None, ...]
    free: frozenset[int] = frozenset()
    axis_names: tuple[tuple[str, ...], ...] = ()

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor among the arguments, in pytree order."""
        return [leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]

    @property
    def names(self) -> list[str]:
        """A name for every tensor: `args[0]`, `kwargs['mask']`."""
        flat, _ = pytree.tree_flatten_with_path({"args": self.args, "kwargs": self.kwargs})
        return [
            pytree.keystr(path)[2:].replace("']", "", 1) for path, leaf in flat if isinstance(leaf, Tensor)
        ]

    @property
    def size(self) -> int | None:
        """The batch size, None without a batch axis."""
        pairs = zip(self.tensors, self.axes, strict=True)
        return next((tensor.shape[axis] for tensor, axis in pairs if axis is not None), None)

    def with_tensors(self, tensors: Sequence[Tensor]) -> Arguments:
        """Return the same arguments with other tensors in place of theirs."""
        flat, spec = pytree.tree_flatten((self.args, self.kwargs))
        supply = iter(tensors)
        filled = [next(supply) if isinstance(leaf, Tensor) else leaf for leaf in flat]
        args, kwargs = pytree.tree_unflatten(filled, spec)
        return replace(self, args=args, kwargs=kwargs)

    def map(self, function: Callable[[Tensor], Tensor]) -> Arguments:
        """Apply a function to every tensor."""
        return self.with_tensors([function(tensor) for tensor in self.tensors])

    def clone(self) -> Arguments:
        """Return a copy that shares neither memory nor a graph."""
        return self.map(lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad))

    def to(self, dtype: torch.dtype) -> Arguments:
        """Convert every float tensor to a dtype."""
        return self.map(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)

    def rows(self, indices: Sequence[int]) -> Arguments:
        """Return the samples at `indices`, in that order."""
        chosen = torch.tensor(indices, dtype=torch.long)
        pairs = zip(self.tensors, self.axes, strict=True)
        return self.with_tensors(
            [t if axis is None else t.index_select(axis, chosen.to(t.device)) for t, axis in pairs]
        )

    def resized(self, name: str, size: int) -> Arguments:
        """Return the arguments with another size of a named axis: their first steps, which may repeat."""
        tensors = self.tensors
        for number, names in enumerate(self.axis_names):
            for axis in [axis for axis, own in enumerate(names) if own == name]:
                steps = torch.arange(size, device=tensors[number].device) % tensors[number].shape[axis]
                tensors[number] = tensors[number].index_select(axis, steps)
        return self.with_tensors(tensors)

    def replace_others(self, kept: int, others: Arguments) -> Arguments:
        """Keep one sample, and replace all the others by those of another batch."""
        mixed: list[Tensor] = []
        for ours, theirs, axis in zip(self.tensors, others.tensors, self.axes, strict=True):
            if axis is None:
                mixed.append(ours)
            else:
                index = torch.tensor([kept], device=ours.device)
                mixed.append(theirs.index_copy(axis, index, ours.index_select(axis, index)))
        return self.with_tensors(mixed)


class _Kind(Enum):
    """How other values of a tensor are drawn."""

    SHARED = auto()
    """The whole batch shares it: it stays."""
    FREE = auto()
    """Given as a shape: any values will do."""
    CONSTANT = auto()
    """One value throughout: it stays that, for as many samples as asked for."""
    ROWS = auto()
    """A mask, positions, or the same for every sample: samples are picked whole from those of the example."""
    VALUES = auto()
    """Other values of the same range."""


def draw(
    example: Arguments, size: int | None, generator: torch.Generator, limit: int | None = None
) -> Arguments:
    """Return arguments like the example with `size` samples.

    What was passed says what may be passed. A constant stays constant, and a mask stays a mask: in both,
    other values would be another kind of input. Numbers stay in the range seen, integers among those seen.
    Where nothing would vary, a constant is taken as a placeholder.

    Args:
        example: the example, which is left as it is.
        size: samples in the batch; None for as many as the example has.
        generator: the source of randomness.
        limit: integers whose values nothing tells are drawn from `range(limit)`.
    """

    def like(tensor: Tensor, axis: int | None, kind: _Kind) -> Tensor:
        if axis is None:
            return tensor.detach().clone()
        shape = list(tensor.shape)
        if size is not None:
            shape[axis] = size
        drawn = _like(tensor, shape, axis, kind, generator, limit)
        return drawn.to(dtype=tensor.dtype, device=tensor.device).requires_grad_(tensor.requires_grad)

    triples = zip(example.tensors, example.axes, _kinds(example), strict=True)
    return example.with_tensors([like(tensor, axis, kind) for tensor, axis, kind in triples])


def _kinds(example: Arguments) -> list[_Kind]:
    """Return how each tensor is drawn, so that at least one of them varies."""
    tensors = example.tensors
    pairs = zip(tensors, example.axes, strict=True)
    kinds = [_kind(t, axis, number in example.free) for number, (t, axis) in enumerate(pairs)]
    if _Kind.FREE in kinds or _Kind.VALUES in kinds:
        return kinds
    rows = [n for n, kind in enumerate(kinds) if kind is _Kind.ROWS and tensors[n].dtype != torch.bool]
    constant = [n for n, kind in enumerate(kinds) if kind is _Kind.CONSTANT]
    floats = [n for n in constant if tensors[n].is_floating_point() or tensors[n].is_complex()]
    if rows:
        return [_Kind.VALUES if n in rows else kind for n, kind in enumerate(kinds)]
    return [_Kind.FREE if n in (floats or constant[:1]) else kind for n, kind in enumerate(kinds)]


def _kind(tensor: Tensor, axis: int | None, free: bool) -> _Kind:
    if axis is None:
        return _Kind.SHARED
    if tensor.is_meta:
        return _Kind.FREE
    values = tensor.detach()
    if values.dtype == torch.bool:
        return _Kind.ROWS
    if free or values.numel() == 0:
        return _Kind.FREE
    if bool((values == values.flatten()[0]).all()):
        return _Kind.CONSTANT
    return _Kind.ROWS if _structured(values, axis) else _Kind.VALUES


def _structured(values: Tensor, axis: int) -> bool:
    """Whether samples have to stay whole: masks of 0 and 1 or of minus infinity, positions, shared rows."""
    if values.is_complex():
        return False
    rows = values.movedim(axis, 0)
    if len(rows) > 1 and bool((rows == rows[:1]).all()):
        return True
    if bool(((values == 0) | (values == 1)).all()) or not bool(values.isfinite().all()):
        return True
    if values.is_floating_point() or values.ndim < 2:
        return False
    return rows.shape[-1] > 2 and bool((rows.diff(dim=-1) >= 0).all())  # positions, segments


def _like(
    tensor: Tensor, shape: list[int], axis: int, kind: _Kind, generator: torch.Generator, limit: int | None
) -> Tensor:
    values = tensor.detach().cpu()
    real = values.is_floating_point()
    if kind is _Kind.CONSTANT:
        return values.flatten()[0].expand(shape).clone()
    if kind is _Kind.ROWS:
        if values.numel() == 0:
            return values.new_zeros(shape)
        rows = torch.randint(values.shape[axis], (shape[axis],), generator=generator)
        return values.index_select(axis, rows)
    if real or values.is_complex():
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        if kind is _Kind.VALUES and real:
            exact = values.double()
            drawn = (exact.mean() + exact.std() * drawn).clamp(exact.min(), exact.max())
        return drawn
    if kind is _Kind.FREE:
        low = 0 if limit is not None or values.numel() == 0 else int(values.flatten()[0])
        return torch.randint(low, max(limit or low + 1, low + 1), shape, generator=generator)
    picks = torch.randint(values.numel(), (torch.Size(shape).numel(),), generator=generator)
    return values.flatten()[picks].reshape(shape)
