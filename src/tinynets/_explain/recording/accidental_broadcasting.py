"""Warn of an operation that broadcasts `[batch, 1]` with `[batch]`, which is rarely on purpose."""

from __future__ import annotations

from typing import Any

from ..._torch.tracing.shape_environment import expression_of
from ...inputs.size_text import axis_text
from .events import is_tensor


def broadcast_warning(name: str, args: tuple[Any, ...]) -> str:
    """Return a warning if operands such as `[batch, 1]` and `[batch]` make `[batch, batch]`; or `""`.

    That is rarely on purpose. Sizes are compared as they are written: comparing symbols would tie them to
    numbers.
    """
    tensors = [argument for argument in args if is_tensor(argument)]
    if len(tensors) < 2:
        return ""
    shapes = [[axis_text(expression_of(size)) for size in tensor.shape] for tensor in tensors]
    longest = max(shapes, key=len)
    short = longest.copy()
    while short and short[-1] == "1":
        short.pop()
    # Exactly the shape that a forgotten `squeeze(-1)` leaves; an outer product of other axes is intended.
    if short == longest or not short or short not in shapes:
        return ""
    rank = len(longest)
    padded = [["1"] * (rank - len(shape)) + shape for shape in shapes]
    full = [next((size for size in column if size != "1"), "1") for column in zip(*padded, strict=True)]
    inputs = " with ".join(f"[{', '.join(shape)}]" for shape in shapes)
    return f"{name} broadcasts {inputs} to [{', '.join(full)}]"
