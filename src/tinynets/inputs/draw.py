"""Inputs of any batch size, drawn like an example: same structure, dtypes and range of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    axes: tuple[int | None, ...]

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
        return Arguments(args, kwargs, self.axes)

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


def draw(
    example: Arguments, size: int | None, generator: torch.Generator, limit: int | None = None
) -> Arguments:
    """Return arguments like the example with `size` samples.

    Args:
        example: the example, which is left as it is.
        size: samples in the batch; None for as many as the example has.
        generator: the source of randomness.
        limit: where integers do not vary in the example, they are drawn from `range(limit)`.
    """

    def like(tensor: Tensor, axis: int | None) -> Tensor:
        if axis is None:
            return tensor.detach().clone()
        shape = list(tensor.shape)
        if size is not None:
            shape[axis] = size
        return _like(tensor, shape, axis, generator, limit).requires_grad_(tensor.requires_grad)

    pairs = zip(example.tensors, example.axes, strict=True)
    return example.with_tensors([like(tensor, axis) for tensor, axis in pairs])


def _like(
    tensor: Tensor, shape: list[int], axis: int, generator: torch.Generator, limit: int | None
) -> Tensor:
    """Draw values within the range of the example, so that a model that needs such values gets them."""
    values = tensor.detach().cpu()
    count = torch.Size(shape).numel()
    empty = values.numel() == 0
    if values.is_floating_point() or values.is_complex():
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        varies = not empty and not values.is_complex() and bool((values != values.flatten()[0]).any())
        if varies:
            exact = values.double()
            drawn = (exact.mean() + exact.std() * drawn).clamp(exact.min(), exact.max())
    elif values.dtype == torch.bool:
        # Keep the rows of masks whole: a row that masks everything would be another kind of input.
        rows = torch.randint(max(values.shape[axis], 1), (shape[axis],), generator=generator)
        drawn = values.index_select(axis, rows) if not empty else values.new_zeros(shape)
    elif empty or bool((values == values.flatten()[0]).all()):
        low = 0 if empty or limit is not None else int(values.flatten()[0])
        drawn = torch.randint(low, max(limit or low + 1, low + 1), shape, generator=generator)
    else:
        picks = torch.randint(values.numel(), (count,), generator=generator)
        drawn = values.flatten()[picks].reshape(shape)
    return drawn.to(dtype=tensor.dtype, device=tensor.device)
