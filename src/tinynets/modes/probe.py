"""Finding randomness that eval mode does not switch off, by running the model again and again."""

from __future__ import annotations

import random
import sys
from collections.abc import Collection, Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # torch has no public one

from .contexts import evaluating
from .flags import named

_RUNS = 6  # two can agree by chance: ten values under dropout of 0.1 do so one time in seven

Call = tuple[list[Any], list[Any]]  # the tensors that went in, and those that came out


def random_in_eval(model: nn.Module, inputs: tuple[Any, ...], hidden: Collection[nn.Module]) -> list[str]:
    """Paths of the modules whose own code gives two results for the same inputs in eval mode.

    Runs the model a few times without gradients. Random states, buffers and modes are as before afterwards.
    """
    buffers = [buffer for module in (model, *hidden) for buffer in module.buffers()]
    with ExitStack() as stack:
        stack.enter_context(_buffers_kept(buffers))
        stack.enter_context(_random_states_kept([*model.parameters(), *buffers, *_tensors(inputs)]))
        # Hidden modules get a line of their own in the report: here they must not hide what else is random.
        stack.enter_context(evaluating(model, *hidden))
        stack.enter_context(torch.no_grad())
        first, *others = [_calls(model, inputs) for _ in range(_RUNS)]
    blamed: list[str] = []
    for path in reversed(list(first)):  # from the leaves up: a parent is to blame only if no child is
        if any(_is_below(other, path) for other in blamed):
            continue
        pairs = [pair for other in others for pair in zip(first[path], other[path], strict=False)]
        if any(_same(a[0], b[0]) and not _same(a[1], b[1]) for a, b in pairs):
            blamed.append(path)
    return blamed[::-1]


def _calls(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, list[Call]]:
    calls: dict[str, list[Call]] = {}
    with ExitStack() as stack:
        for path, module in named(model):
            entered: list[list[Any]] = []  # a stack, for modules that call themselves
            calls[path] = []

            def before(_: Any, args: Any, kwargs: Any, entered: list[list[Any]] = entered) -> None:
                entered.append(_copies((args, kwargs)))

            def after(
                _: Any,
                __: Any,
                output: Any,
                entered: list[list[Any]] = entered,
                made: list[Call] = calls[path],
            ) -> None:
                made.append((entered.pop(), _copies(output)))

            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(after).remove)
        model(*inputs)
    return calls


def _is_below(path: str, parent: str) -> bool:
    return path != parent and (parent == "" or path.startswith(parent + "."))


def _tensors(values: Any) -> list[Tensor]:
    leaves: list[Any] = pytree.tree_leaves(values)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _copies(values: Any) -> list[Any]:
    leaves: list[Any] = pytree.tree_leaves(values)
    return [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]


def _same(first: list[Any], second: list[Any]) -> bool:
    if len(first) != len(second):
        return False
    for one, other in zip(first, second, strict=True):
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            # Not bit by bit: where memory is aligned can change the last digit of a product.
            if one.shape != other.shape or not torch.allclose(one, other, rtol=1e-4, equal_nan=True):
                return False
        elif isinstance(one, (bool, int, float, str)) and one != other:
            return False
    return True


@contextmanager
def _buffers_kept(buffers: list[Tensor]) -> Generator[None]:
    # Few layers write to buffers in eval mode, but a cache or a counter may be one.
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)


@contextmanager
def _random_states_kept(tensors: Iterable[Tensor]) -> Generator[None]:
    devices: dict[str, set[int]] = {}
    for tensor in tensors:
        if tensor.device.type not in ("cpu", "meta"):
            devices.setdefault(tensor.device.type, set()).add(tensor.device.index or 0)
    numpy = sys.modules.get("numpy")
    python_state, numpy_state = random.getstate(), numpy and numpy.random.get_state()
    fork = cast("Any", torch.random).fork_rng  # which torch leaves untyped
    with ExitStack() as stack:
        stack.enter_context(fork(devices=[]))
        for kind, indices in devices.items():
            stack.enter_context(fork(devices=sorted(indices), device_type=kind))
        try:
            yield
        finally:
            random.setstate(python_state)
            if numpy:
                numpy.random.set_state(numpy_state)
