"""Count MACs and new memory of every operation for the lines that are running: torch's FLOP counter, and the
CPU kernels that it lacks (attention, LSTM); which operations are watched for broadcasting.
"""

# torch's own modes are typed with Any throughout.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from ..._torch.tracing.fake_tensors import python_kernels
from ..._torch.tracing.operators import (
    TorchDispatchMode,
    can_decompose,
    is_mutable,
    packet_of,
    takes_apart_symbolic_axis,
)
from ..._torch.tracing.pytree import tree_leaves
from ...errors import LoopsOverAxisError
from .accidental_broadcasting import broadcast_warning
from .amounts import Product, product
from .events import LineEvent, is_tensor, storage_of


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Any:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _recurrent_layer(inputs: Any, weight_input: Any, weight_hidden: Any, *_: Any, **__: Any) -> Any:
    return 2 * inputs.shape[0] * inputs.shape[1] * (weight_input.numel() + weight_hidden.numel())


# CPU kernels that torch's FLOP counter lacks.
_ALSO_COUNTED = {
    getattr(torch.ops.aten, name, None): count
    for name, count in (
        ("_scaled_dot_product_flash_attention_for_cpu", _attention),
        ("mkldnn_rnn_layer", _recurrent_layer),
    )
}
# C++ kernels that turn symbols into numbers, although torch has a Python one that allocates the same memory.
_TIE_SYMBOLS = {torch.ops.aten.constant_pad_nd.default}


class OpCounter(TorchDispatchMode):
    """Counts multiply-accumulates and new memory for the running lines; `warn` takes probable mistakes.

    Without `unroll`, a loop over a symbolic axis raises `LoopsOverAxisError`.
    """

    def __init__(
        self, running: Callable[[], Iterable[LineEvent]], warn: Callable[[str], None], *, unroll: bool
    ) -> None:
        super().__init__()
        self.running = running
        self.warn = warn
        self.unroll = unroll
        # Weak references to all storages so far, so that ids are not confused; with the size of those that
        # the pass made.
        self.seen: dict[Any, Counter[Product] | None] = {}
        self._known_macs: dict[Any, Counter[Product]] = {}

    def mark_seen(self, tensors: Iterable[torch.Tensor]) -> None:
        """Count the memory of tensors as allocated before the pass."""
        for tensor in tensors:
            storage = storage_of(tensor)
            if storage is not None:
                self.seen[storage] = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and count what it costs."""
        kwargs = kwargs or {}
        packet = packet_of(func)
        if packet is None:  # a higher-order operator
            return func(*args, **kwargs)
        if not self.unroll and takes_apart_symbolic_axis(func, args):
            raise LoopsOverAxisError
        if packet not in flop_registry and can_decompose(func):
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        with python_kernels() if func in _TIE_SYMBOLS else contextlib.nullcontext():
            result = func(*args, **kwargs)
        lines = list(self.running())
        if lines:
            self._count(func, packet, args, kwargs, result, lines)
        return result

    def _count(
        self, func: Any, packet: Any, args: Any, kwargs: Any, result: Any, lines: list[LineEvent]
    ) -> None:
        macs = self._macs(packet, args, kwargs, result)
        new = Counter[Product]()
        for tensor in filter(is_tensor, tree_leaves(result)):
            storage = storage_of(tensor)
            if storage is None or storage in self.seen:
                continue
            self.seen[storage] = size = num_bytes(tensor)
            new.update(size)
            for line in lines:
                line.born.add(storage)
        mutable = is_mutable(func)
        for line in lines:
            line.macs.update(macs)
            line.allocated.update(new)
            line.mutated = line.mutated or mutable
        if torch.Tag.pointwise in func.tags and is_tensor(result):
            warning = broadcast_warning(packet.__name__, args)
            if warning:
                self.warn(warning)

    def _macs(self, packet: Any, args: Any, kwargs: Any, result: Any) -> Counter[Product]:
        """Return half of what torch's FLOP counter counts, cached by call."""
        count = flop_registry.get(packet) or _ALSO_COUNTED.get(packet)
        if count is None:
            return Counter()
        leaves = tree_leaves((args, kwargs, result))
        key = (packet, *(str(tuple(leaf.shape)) if is_tensor(leaf) else str(leaf) for leaf in leaves))
        if key not in self._known_macs:
            flops: Any = count(*args, **kwargs, out_val=result)
            self._known_macs[key] = product([flops // 2])
        return self._known_macs[key]


class FunctionObserver(TorchFunctionMode):
    """Reports the calls of torch's public functions: name, arguments and result."""

    def __init__(self, called: Callable[[str, Any, Any, Any], None]) -> None:
        super().__init__()
        self.called = called

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function and report it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name not in ("__get__", "__set__"):
            self.called(name, args, kwargs, result)
        return result


def num_bytes(tensor: torch.Tensor) -> Counter[Product]:
    """Return the size of a tensor's elements in bytes."""
    return product([tensor.element_size(), *tensor.shape])
