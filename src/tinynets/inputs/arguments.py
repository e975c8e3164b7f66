"""The arguments of one call, and which axis of each tensor is the batch: tensors by name, some samples, other
samples beside one, another dtype, another size of a named axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .._torch.tracing import pytree


@dataclass(frozen=True)
class Arguments:
    """Positional and keyword arguments of one call, and which axis of each tensor is the batch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    # The batch axis of every tensor among them, in pytree order; None for one that the whole batch shares.
    axes: tuple[int | None, ...]
    # The numbers of the tensors that were given by their shape alone, so that any values will do.
    free: frozenset[int] = frozenset()
    # For every tensor, the names of the axes that may have any size, "" for the others.
    axis_names: tuple[tuple[str, ...], ...] = ()
    batch_name: str = "batch"

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
        """The batch size, or None without a batch axis."""
        pairs = zip(self.tensors, self.axes, strict=True)
        return next((tensor.shape[axis] for tensor, axis in pairs if axis is not None), None)

    def with_tensors(self, tensors: Sequence[Tensor]) -> Arguments:
        """Return the same arguments with their tensors replaced."""
        flat, spec = pytree.tree_flatten((self.args, self.kwargs))
        supply = iter(tensors)
        filled = [next(supply) if isinstance(leaf, Tensor) else leaf for leaf in flat]
        args, kwargs = pytree.tree_unflatten(filled, spec)
        return replace(self, args=args, kwargs=kwargs)

    def map(self, function: Callable[[Tensor], Tensor]) -> Arguments:
        """Apply a function to every tensor."""
        return self.with_tensors([function(tensor) for tensor in self.tensors])

    def clone(self) -> Arguments:
        """Return a copy that shares neither memory nor the autograd graph."""
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
        """Return the arguments with another size of a named axis, truncated or repeated along it."""
        tensors = self.tensors
        for number, names in enumerate(self.axis_names):
            for axis in [axis for axis, own in enumerate(names) if own == name]:
                steps = torch.arange(size, device=tensors[number].device) % tensors[number].shape[axis]
                tensors[number] = tensors[number].index_select(axis, steps)
        return self.with_tensors(tensors)

    def replace_others(self, kept: int, others: Arguments) -> Arguments:
        """Keep one sample, and replace all others with those of another batch."""
        mixed: list[Tensor] = []
        for ours, theirs, axis in zip(self.tensors, others.tensors, self.axes, strict=True):
            if axis is None:
                mixed.append(ours)
            else:
                index = torch.tensor([kept], device=ours.device)
                mixed.append(theirs.index_copy(axis, index, ours.index_select(axis, index)))
        return self.with_tensors(mixed)
