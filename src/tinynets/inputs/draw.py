"""Inputs of any batch size, drawn like an example: same structure, dtypes and range of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Arguments:
    """Positional and named arguments of one call, and which axis of each tensor is the batch.

    Args:
        args: positional arguments.
        kwargs: named arguments.
        axes: the batch axis of every tensor among them, in pytree order; None for a tensor that is the same
            for the whole batch.
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
        """Return the same arguments with other tensors in their places."""
        flat, spec = pytree.tree_flatten((self.args, self.kwargs))
        supply = iter(tensors)
        filled = [next(supply) if isinstance(leaf, Tensor) else leaf for leaf in flat]
        args, kwargs = pytree.tree_unflatten(filled, spec)
        return Arguments(args, kwargs, self.axes)

    def map(self, function: Callable[[Tensor], Tensor]) -> Arguments:
        """Return the same arguments with every tensor replaced by `function` of it."""
        return self.with_tensors([function(tensor) for tensor in self.tensors])

    def clone(self) -> Arguments:
        """Return a copy that shares no memory and no graph."""
        return self.map(lambda tensor: tensor.detach().clone().requires_grad_(tensor.requires_grad))

    def to(self, dtype: torch.dtype) -> Arguments:
        """Return the same arguments with every float tensor in another dtype."""
        return self.map(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)

    def rows(self, indices: Sequence[int]) -> Arguments:
        """Return the samples at `indices`, in their order."""
        chosen = torch.tensor(indices, dtype=torch.long)
        return self._along(lambda tensor, axis: tensor.index_select(axis, chosen.to(tensor.device)))

    def replace_others(self, kept: int, others: Arguments) -> Arguments:
        """Return `others` with its sample `kept` replaced by ours."""
        mixed: list[Tensor] = []
        for ours, theirs, axis in zip(self.tensors, others.tensors, self.axes, strict=True):
            if axis is None:
                mixed.append(ours)
            else:
                index = torch.tensor([kept], device=ours.device)
                mixed.append(theirs.index_copy(axis, index, ours.index_select(axis, index)))
        return self.with_tensors(mixed)

    def _along(self, function: Callable[[Tensor, int], Tensor]) -> Arguments:
        pairs = zip(self.tensors, self.axes, strict=True)
        return self.with_tensors([t if axis is None else function(t, axis) for t, axis in pairs])


def draw(
    example: Arguments, size: int | None, generator: torch.Generator, limit: int | None = None
) -> Arguments:
    """Return arguments like the example with `size` samples.

    Args:
        example: the example; it is not touched.
        size: samples in the batch, None for as many as the example has.
        generator: the source of randomness.
        limit: integers that do not vary in the example are drawn from 0 to below this.
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
    """Draw values of the kind that the example holds: they stay in its range, so that its domain is kept."""
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
        # Rows of masks are kept whole: a row that masks everything would be a different question.
        rows = torch.randint(max(values.shape[axis], 1), (shape[axis],), generator=generator)
        drawn = values.index_select(axis, rows) if not empty else values.new_zeros(shape)
    elif empty or bool((values == values.flatten()[0]).all()):
        low = 0 if empty or limit is not None else int(values.flatten()[0])
        drawn = torch.randint(low, max(limit or low + 1, low + 1), shape, generator=generator)
    else:
        picks = torch.randint(values.numel(), (count,), generator=generator)
        drawn = values.flatten()[picks].reshape(shape)
    return drawn.to(dtype=tensor.dtype, device=tensor.device)
