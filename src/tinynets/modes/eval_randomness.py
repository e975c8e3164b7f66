"""Find randomness that eval mode does not switch off, for `mode_report(model, x)`: the model runs 6 times,
and the innermost module that differs is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .._torch.modules.hook_recorder import ModuleCall, recorded_calls
from .._torch.modules.module_tables import named_modules
from .._torch.state.random_states import preserved_random_states
from .contexts import evaluating

_RUNS = 6  # two can agree by chance: ten values under dropout of 0.1 do so one time in seven


def random_in_eval(model: nn.Module, inputs: tuple[Any, ...], hidden: Collection[nn.Module]) -> list[str]:
    """Return the paths of the modules whose own code is random in eval mode.

    Runs the model a few times without gradients. Random states, buffers and modes are restored afterwards.
    """
    buffers = [buffer for module in (model, *hidden) for buffer in module.buffers()]
    with ExitStack() as stack:
        stack.enter_context(_buffers_kept(buffers))
        stack.enter_context(preserved_random_states(model))
        # Hidden modules have their own line in the report; here they must not mask other randomness.
        stack.enter_context(evaluating(model, *hidden))
        stack.enter_context(torch.no_grad())
        first, *others = [_calls_by_path(model, inputs) for _ in range(_RUNS)]
    blamed: list[str] = []
    # From the leaves up: a parent is to blame only if no child is.
    for path in reversed([path for path, _ in named_modules(model)]):
        if any(_is_below(other, path) for other in blamed):
            continue
        pairs = [pair for other in others for pair in zip(first[path], other[path], strict=False)]
        if any(_same(a.inputs, b.inputs) and not _same(a.outputs, b.outputs) for a, b in pairs):
            blamed.append(path)
    return blamed[::-1]


def _calls_by_path(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, list[ModuleCall]]:
    calls: dict[str, list[ModuleCall]] = defaultdict(list)
    for call in recorded_calls(model, lambda: model(*inputs)):
        calls[call.path].append(call)
    return calls


def _is_below(path: str, parent: str) -> bool:
    return path != parent and (parent == "" or path.startswith(parent + "."))


def _same(first: list[Any], second: list[Any]) -> bool:
    if len(first) != len(second):
        return False
    for one, other in zip(first, second, strict=True):
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            # Not bitwise: memory alignment can change the last digit of a product.
            if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-4, equal_nan=True):
                return False
        elif isinstance(one, (bool, int, float, str)) and one != other:
            return False
    return True


@contextmanager
def _buffers_kept(buffers: list[Tensor]) -> Generator[None]:
    # Few layers write to buffers in eval mode, but a cache or a counter may be a buffer.
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
