"""The cause of a failed batch check: the module whose inputs are the same but whose outputs differ in two
calls, and known settings such as `dim=0` or `batch_first=False`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..._torch.modules.hook_recorder import ModuleCall, recorded_calls
from ..._torch.modules.layers import BatchNorm
from ...errors import Failure, Skip
from ...inputs.arguments import Arguments
from ..measure.compare import difference
from ..subject import Subject

_ROUNDING = 1e-5  # smaller differences count as rounding here: the check has already found a leak


def mixing_module(
    subject: Subject, ours: Arguments, theirs: Arguments, pick: Sequence[int], match: Sequence[int]
) -> str:
    """Say which module treats some samples differently in two calls in eval mode; `""` if unknown.

    The samples are those at `pick` in `ours`, and at `match` in `theirs`.
    """
    size = ours.size or 0
    try:
        first, second = _calls(subject, ours), _calls(subject, theirs)
        smaller = _calls(subject, subject.batch(size - 1))
    except (Failure, Skip):
        return ""
    if not [c.path for c in first] == [c.path for c in second] == [c.path for c in smaller]:
        return ""
    for a, b, c in zip(first, second, smaller, strict=True):
        sides = (size, theirs.size or 0)
        entered = _same(a.inputs, b.inputs, c.inputs, sides, pick, match)
        if entered and not _same(a.outputs, b.outputs, c.outputs, sides, pick, match):
            return described(a.path, a.module)
    return ""


def shrunken_module(subject: Subject, arguments: Arguments) -> str:
    """Say which module returns tensors of another rank than for `subject.batch()`; `""` if none does."""
    try:
        first, second = _calls(subject, subject.batch()), _calls(subject, arguments)
    except (Failure, Skip):
        return ""
    for a, b in zip(first, second, strict=False):
        if a.path != b.path or _ranks(a.inputs) != _ranks(b.inputs):
            return ""
        if _ranks(a.outputs) != _ranks(b.outputs):
            return described(a.path, a.module)
    return ""


def described(path: str, module: nn.Module) -> str:
    """Describe a module, with the setting by which it mixes samples, if one is known."""
    kind = type(module).__name__
    if not path:
        nested = next(module.children(), None) is not None
        return f"{kind}.forward itself does it" + (", between its submodules" if nested else "")
    return f"`{path}` ({kind}) does it" + (f": {reason}" if (reason := _reason(module)) else "")


def _reason(module: nn.Module) -> str:
    if isinstance(module, BatchNorm):
        if module.training:
            return "it is in training mode, though the model is in eval mode"
        if module.running_mean is None:
            return "track_running_stats=False normalises by the batch in eval mode too"
    if getattr(module, "batch_first", None) is False:
        return "batch_first=False takes the first axis for the sequence"
    if getattr(module, "dim", None) == 0:
        return "dim=0 is the batch"
    if isinstance(module, nn.Flatten) and module.start_dim == 0:
        return "start_dim=0 is the batch"
    return ""


def _calls(subject: Subject, arguments: Arguments) -> list[ModuleCall]:
    """Call the model in eval mode and return the calls of its modules, in the order in which they ended."""
    return recorded_calls(subject.model, lambda: subject.run(arguments))


def _same(
    ours: list[Any],
    theirs: list[Any],
    smaller: list[Any],
    sides: tuple[int, int],
    pick: Sequence[int],
    match: Sequence[int],
) -> bool:
    """Return whether some samples agree in two calls; tensors without a batch axis must agree entirely."""
    first, second, third = map(_tensors, (ours, theirs, smaller))
    if not len(first) == len(second) == len(third):
        return False
    for a, b, c in zip(first, second, third, strict=True):
        axis = _batch_axis(a, c, sides[0])
        if axis is not None:
            if b.ndim != a.ndim or b.shape[axis] % sides[1]:
                return False
            a, b = _rows(a, axis, sides[0], pick), _rows(b, axis, sides[1], match)
        found = difference(a, b)
        if found is not None and found.error > _ROUNDING:
            return False
    return True


def _tensors(leaves: list[Any]) -> list[Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _ranks(leaves: list[Any]) -> list[int]:
    return [tensor.ndim for tensor in _tensors(leaves)]


def _batch_axis(tensor: Tensor, smaller: Tensor, size: int) -> int | None:
    """Return the axis whose size is proportional to the batch size, merged with another one or not."""
    pairs = zip(tensor.shape, smaller.shape, strict=False)
    return next((i for i, (m, n) in enumerate(pairs) if m != n and m * (size - 1) == n * size), None)


def _rows(tensor: Tensor, axis: int, size: int, indices: Sequence[int]) -> Tensor:
    shape = (*tensor.shape[:axis], size, tensor.shape[axis] // size, *tensor.shape[axis + 1 :])
    parts = tensor.reshape(shape)
    return parts.index_select(axis, torch.tensor(indices, device=tensor.device))
