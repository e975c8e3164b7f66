"""Remembering one object: what it was, what has changed since, and putting it back."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from ..measure.compare import same_bits
from .changes import MISSING, Change, changed_entries, equal
from .holdings import Holding, Kind, Namespace


class State(Protocol):
    """One remembered object."""

    def changes(self) -> Iterator[Change]:
        """Yield how it differs from what it was."""
        ...

    def restore(self) -> None:
        """Put it back."""
        ...


def state_of(holding: Holding) -> State | None:
    """Remember an object, None where that is not possible: a sparse tensor, one made under inference mode."""
    value = holding.value
    if isinstance(value, dict):
        return _DictState(holding)
    if isinstance(value, Tensor):
        usable = not value.is_inference() and value.layout is torch.strided
        return TensorState(holding) if usable else None
    if isinstance(value, nn.Module):
        return _ClassState(holding)
    if isinstance(value, Namespace):
        return _NamespaceState(holding)
    if isinstance(value, list | deque | set):
        return _ItemsState(holding)
    return _ArrayState(holding) if hasattr(value, "tobytes") else _GeneratorState(holding)


class TensorState:
    """The values of one tensor, in the memory where they were, its gradient and its hooks."""

    def __init__(self, holding: Holding) -> None:
        tensor: Tensor = holding.value
        self.holding, self.tensor = holding, tensor
        self.home = tensor.detach()  # shares the memory, so that aliases stay aliases
        self.cells = _each_once(self.home)
        self.values = None if tensor.is_meta else self.cells.clone()
        self.requires_grad, self.is_leaf = tensor.requires_grad, tensor.is_leaf
        self.grad = tensor.grad if tensor.is_leaf else None
        grad = Holding(f"{holding.path}.grad", self.grad, holding.kind)
        usable = self.grad is not None and self.grad.layout is torch.strided
        self.grad_state = TensorState(grad) if usable else None
        # With the dicts themselves, by which the handles of the hooks remove them.
        self.hooks = {name: (getattr(tensor, name, None), _hooks(tensor, name)) for name in _HOOKS}

    def changes(self) -> Iterator[Change]:
        """Yield how it differs from what it was."""
        path, kind, tensor = self.holding.path, self.holding.kind, self.tensor
        if self._moved():
            yield Change(path, kind, self.home, tensor)
        elif self.values is not None and not same_bits(self.cells, self.values):
            yield Change(path, kind, tensor, tensor)
        if tensor.requires_grad != self.requires_grad:
            yield Change(f"{path}.requires_grad", Kind.FLAG, self.requires_grad, tensor.requires_grad)
        grad = tensor.grad if tensor.is_leaf else None
        if grad is not self.grad:
            yield Change(f"{path}.grad", kind, self.grad, grad)
        elif self.grad_state is not None:
            yield from self.grad_state.changes()
        for name, (_, hooks) in self.hooks.items():
            if _hooks(tensor, name) != hooks:
                yield Change(f"{path}.{name}", Kind.HOOK, hooks, _hooks(tensor, name))

    def restore(self) -> None:
        """Put it back, into the same memory."""
        tensor = self.tensor
        with torch.no_grad():
            if self.is_leaf and not tensor.is_leaf:
                _take_out_of_graph(tensor, self.home)
            if self._moved():
                tensor.data = self.home
            if self.values is not None and not same_bits(self.cells, self.values):
                self.cells.copy_(self.values)
            if not tensor.is_leaf:
                return
            if tensor.requires_grad != self.requires_grad:
                tensor.requires_grad_(self.requires_grad)
            if self.grad_state is not None:
                self.grad_state.restore()
            if tensor.grad is not self.grad:
                tensor.grad = self.grad
            for name, (registry, hooks) in self.hooks.items():
                if _hooks(tensor, name) != hooks:
                    if registry is not None:
                        registry.clear()
                        registry.update(hooks)
                    setattr(tensor, name, registry)

    def _moved(self) -> bool:
        tensor, home = self.tensor, self.home
        return (
            tensor.dtype != home.dtype
            or tensor.shape != home.shape
            or tensor.device != home.device
            or tensor.stride() != home.stride()
            or (not tensor.is_meta and tensor.data_ptr() != home.data_ptr())
        )


_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def _hooks(tensor: Tensor, name: str) -> dict[int, Any]:
    return dict(getattr(tensor, name, None) or {}) if tensor.is_leaf else {}


def _each_once(tensor: Tensor) -> Tensor:
    """Return each place in memory once: an expanded tensor shows one many times, and cannot be written to."""
    if 0 not in tensor.stride():
        return tensor
    shown = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor[tuple(slice(0, 1) if step == 0 and size > 1 else slice(None) for size, step in shown)]


def _take_out_of_graph(tensor: Tensor, home: Tensor) -> None:
    """Make a tensor a leaf again, which it was before something with a graph was written into it."""
    try:
        tensor.detach_()
    except RuntimeError:  # a view cannot be detached in place
        torch.utils.swap_tensors(tensor, home.detach())  # pyright: ignore[reportUnknownMemberType]


class _DictState:
    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self.mapping: dict[Any, Any] = holding.value
        self.saved = dict(self.mapping)  # keeps what it holds alive, so that ids stay theirs
        self.keys, self.values = list(map(id, self.saved)), list(map(id, self.saved.values()))

    def changes(self) -> Iterator[Change]:
        yield from changed_entries(self.holding, self.saved, self.mapping)
        now = list(self.mapping)
        registered = self.holding.kind in (Kind.PARAMETER, Kind.BUFFER, Kind.MODULE)
        if registered and now != list(self.saved) and set(now) == set(self.saved):
            path = f"order in {self.holding.path or 'the model'}"
            yield Change(path, self.holding.kind, ", ".join(self.saved), ", ".join(now))

    def restore(self) -> None:
        # Also the order: that of submodules and parameters is what optimisers and checkpoints go by.
        if list(map(id, self.mapping)) != self.keys or list(map(id, self.mapping.values())) != self.values:
            self.mapping.clear()
            self.mapping.update(self.saved)


class _ClassState:
    """The class of a module, which parametrizations and sharding change."""

    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self.module: nn.Module = holding.value
        self.cls: type[nn.Module] = type(self.module)

    def changes(self) -> Iterator[Change]:
        if type(self.module) is not self.cls:
            name, kind = self.holding.name("__class__"), self.holding.kind
            yield Change(name, kind, self.cls.__name__, type(self.module).__name__)

    def restore(self) -> None:
        if type(self.module) is not self.cls:
            self.module.__class__ = self.cls


class _NamespaceState:
    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self.namespace: Namespace = holding.value
        self.saved = self.namespace.read()

    def changes(self) -> Iterator[Change]:
        yield from changed_entries(self.holding, self.saved, self.namespace.read())

    def restore(self) -> None:
        now = self.namespace.read()
        for name in now.keys() - self.saved.keys():
            delattr(self.namespace.owner, name)
        for name, value in self.saved.items():
            if now.get(name, MISSING) is not value:
                setattr(self.namespace.owner, name, value)


class _ItemsState:
    """A list, a deque or a set."""

    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self.items: Any = holding.value
        self.saved = list(cast("list[Any]", holding.value))
        self.is_set = isinstance(holding.value, set)

    def changes(self) -> Iterator[Change]:
        now = list(self.items)
        if self.items != set(self.saved) if self.is_set else len(now) != len(self.saved):
            yield Change(self.holding.path, self.holding.kind, self.saved, self.items)
        elif not self.is_set:
            yield from changed_entries(self.holding, dict(enumerate(self.saved)), dict(enumerate(now)))

    def restore(self) -> None:
        if list(map(id, self.items)) != list(map(id, self.saved)):
            self.items.clear()
            add = self.items.update if self.is_set else self.items.extend
            add(self.saved)


class _GeneratorState:
    def __init__(self, holding: Holding) -> None:
        self.holding, self.generator = holding, holding.value
        self.saved = self._read()

    def _read(self) -> Any:
        if isinstance(self.generator, random.Random):
            return self.generator.getstate()
        if hasattr(self.generator, "bit_generator"):
            return self.generator.bit_generator.state
        return self.generator.get_state()

    def changes(self) -> Iterator[Change]:
        if not equal(self._read(), self.saved):
            yield Change(self.holding.path, self.holding.kind, self.generator, self.generator)

    def restore(self) -> None:
        if isinstance(self.generator, random.Random):
            self.generator.setstate(self.saved)
        elif hasattr(self.generator, "bit_generator"):
            self.generator.bit_generator.state = self.saved
        else:
            self.generator.set_state(self.saved)


class _ArrayState:
    """An array of numpy."""

    def __init__(self, holding: Holding) -> None:
        self.holding, self.array = holding, holding.value
        self.saved = holding.value.copy()

    def changes(self) -> Iterator[Change]:
        if not equal(self.array, self.saved):
            yield Change(self.holding.path, self.holding.kind, self.array, self.array)

    def restore(self) -> None:
        if not equal(self.array, self.saved):
            self.array[...] = self.saved
