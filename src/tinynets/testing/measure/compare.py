"""How outputs are compared: the largest difference relative to the largest value, NaN, shapes, the limits
2e-5 in float32 and 1e-10 in float64; and the random projection that serves as a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import Failure
from .outputs import Leaf as Leaf
from .outputs import detached as detached
from .outputs import leaves as leaves
from .outputs import outline as outline

FLOAT32_LIMIT = 2e-5
"""Rounding in float32 on a CPU stays below this share of the largest value: the worst seen was 4.9e-6."""
FLOAT64_LIMIT = 1e-10
"""A larger difference in float64 is not rounding."""


@dataclass(frozen=True)
class Difference:
    """The worst difference between two outputs.

    Args:
        leaf: the name of the leaf.
        index: where in the leaf.
        error: largest absolute difference over the largest absolute value of the reference.
    """

    leaf: str
    index: tuple[int, ...]
    error: float

    @property
    def where(self) -> str:
        """The place in words."""
        return f"{self.leaf}{list(self.index) if self.index else ''}"

    def since(self, module: str) -> str:
        """Return the place in words, with the first module whose values differ, if it is known."""
        return f"{self.where}, from {module} on" if module else self.where

    def failure(self, what: str, limit: float = 0.0, cause: str = "") -> Failure:
        """Return the failure that says where the outputs differ, and by how much beyond the limit."""
        size = f"{self.error:.1e} of the largest value (limit {f'{limit:.0e}' if limit else 0})"
        return Failure(what, where=self.where, size=size, cause=cause)


def same_bits(ours: Tensor, theirs: Tensor) -> bool:
    """Return whether two tensors hold the same values; NaN equals NaN."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    if torch.equal(ours, theirs):
        return True
    if not (ours.is_floating_point() or ours.is_complex()):
        return False
    return bool(((ours == theirs) | (ours.isnan() & theirs.isnan())).all())


def difference(ours: Tensor, theirs: Tensor, name: str = "output") -> Difference | None:
    """Return where two tensors differ most, None if their values are the same.

    The error is infinite if the shapes differ or only one of two values is NaN.
    """
    if ours.shape != theirs.shape:
        return Difference(f"{name} (shape {list(ours.shape)}, not {list(theirs.shape)})", (), float("inf"))
    if same_bits(ours, theirs):
        return None
    exact = torch.complex128 if ours.is_complex() or theirs.is_complex() else torch.float64
    left, right = ours.detach().to(exact), theirs.detach().to(exact)
    gap = (left - right).abs()
    gap = gap.masked_fill((left == right) | (left.isnan() & right.isnan()), 0.0)
    gap = gap.nan_to_num(nan=float("inf"))
    flat = int(gap.argmax())
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), gap.shape))
    scale = float(right.abs().nan_to_num(0.0, 0.0, 0.0).max())
    return Difference(name, index, float(gap.flatten()[flat]) / (scale or 1.0))


def worst(ours: Sequence[Leaf], theirs: Sequence[Leaf]) -> Difference | None:
    """Return the largest difference between two outputs, None if all values are the same."""
    if [leaf.path for leaf in ours] != [leaf.path for leaf in theirs]:
        return Difference("the structure of the output", (), float("inf"))
    found = [difference(a.tensor, b.tensor, a.name) for a, b in zip(ours, theirs, strict=True)]
    return max((d for d in found if d is not None), key=lambda d: d.error, default=None)


def objective(output: Any, seed: int = 0) -> Tensor | None:
    """Return a random projection of all float outputs, None if there are none.

    A plain sum would hide gradients: the sum of a softmax has gradient 0.
    """
    generator = torch.Generator().manual_seed(seed)
    total: Tensor | None = None
    for leaf in leaves(output):
        if leaf.tensor.is_floating_point() or leaf.tensor.is_complex():
            weights = torch.randn(leaf.tensor.shape, generator=generator, dtype=torch.float64)
            weights = weights.to(device=leaf.tensor.device, dtype=leaf.tensor.dtype)
            part = (leaf.tensor * weights).sum()
            part = part.real if part.is_complex() else part
            total = part if total is None else total + part
    return total
