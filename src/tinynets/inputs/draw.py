"""Draw more inputs like an example, for `check_model` and proofs: constants stay, masks and positions are
kept whole, floats stay in range, integers are among those seen or valid in the smallest embedding.
"""

from __future__ import annotations

from enum import Enum, auto

import torch
from torch import Tensor, nn

from .arguments import Arguments


class _Kind(Enum):
    """How new values of a tensor are drawn."""

    SHARED = auto()  # the whole batch shares it: it stays
    FREE = auto()  # given as a shape: any values will do
    CONSTANT = auto()  # one value throughout: it stays that, for as many samples as asked for
    ROWS = auto()  # masks, positions, or all samples alike: they are picked whole from those of the example
    VALUES = auto()  # other values of the same range


def draw(
    example: Arguments, size: int | None, generator: torch.Generator, limit: int | None = None
) -> Arguments:
    """Return arguments like the example with `size` samples.

    The example shows which values are valid. A constant stays constant, and a mask stays a mask: other values
    would make them another kind of input. Floats stay in the range of the example, and integers are picked
    from its values. If nothing would vary otherwise, a constant is treated as a placeholder.

    Args:
        example: the example, which is not changed.
        size: samples in the batch; None for as many as the example has.
        generator: the source of randomness.
        limit: integers without example values are drawn from `range(limit)`.
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
    """Whether samples must stay whole: masks of 0 and 1 or of minus infinity, positions, shared rows."""
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


def integer_limit(model: nn.Module) -> int:
    """Return the number of rows of the smallest embedding, or 2 without one: every smaller index is valid."""
    sizes = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    return min(sizes, default=2)
