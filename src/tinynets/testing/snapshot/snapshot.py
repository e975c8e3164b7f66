"""Save everything a model holds, so that the caller gets it back unchanged: tensors, gradients, hooks, modes,
attributes, containers, classes, generators; sparse and inference tensors are left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from ..._torch.state.attribute_tables import AttributeTable, ClassTable, ClosureTable, SlotsTable
from ..._torch.state.foreign import has_attribute
from ..._torch.state.model_walk import reachable
from ..._torch.state.random_states import read_state, same_state, write_state
from ..._torch.state.tensor_internals import HOOK_TABLES, hooks_of
from ..._torch.state.walk_item import Reachable, Role
from ..measure.compare import same_bits
from .changes import MISSING, Change, changed_entries, equal


class Snapshot:
    """A saved model: modules, parameters, buffers, gradients, hooks, modes, attributes, generators.

    Containers and plain objects among the attributes keep their identity: `restore` writes the saved contents
    back into the same objects. State outside the model and its classes, such as module globals and files, is
    not saved.

    Args:
        model: the model to save. It may be changed in any way before `restore`.
    """

    def __init__(self, model: nn.Module) -> None:
        found = [saved for item in reachable(model) if (saved := _save(item)) is not None]
        # Attribute tables and containers first: they determine which tensors exist.
        self._saved: list[_SavedObject] = sorted(found, key=lambda saved: isinstance(saved, _SavedTensor))

    def restore(self) -> None:
        """Restore everything."""
        for saved in self._saved:
            saved.restore()

    def changes(self, *roles: Role) -> list[Change]:
        """Return the changes since the snapshot, for the given roles or for all; each path occurs once."""
        found: dict[str, Change] = {}
        for saved in self._saved:
            for change in saved.changes():
                if not roles or change.role in roles:
                    found.setdefault(change.path, change)
        return list(found.values())


class _SavedObject(Protocol):
    """The saved state of one object."""

    def changes(self) -> Iterator[Change]:
        """Yield the differences from the saved state."""
        ...

    def restore(self) -> None:
        """Restore the saved state."""
        ...


def _save(item: Reachable) -> _SavedObject | None:
    """Save an object; return None for a sparse tensor or an inference tensor, which cannot be saved."""
    value = item.value
    if isinstance(value, dict):
        return _SavedDict(item)
    if isinstance(value, Tensor):
        usable = not value.is_inference() and value.layout is torch.strided
        return _SavedTensor(item) if usable else None
    if isinstance(value, nn.Module):
        return _SavedClass(item)
    if isinstance(value, ClassTable | ClosureTable | SlotsTable):
        return _SavedTable(item)
    if isinstance(value, list | deque | set):
        return _SavedItems(item)
    return _SavedState(item)


class _SavedTensor:
    """The values of a tensor with their memory, its gradient and its hooks."""

    def __init__(self, item: Reachable) -> None:
        tensor: Tensor = item.value
        self.item, self.tensor = item, tensor
        self.home = tensor.detach()  # shares the memory, so that aliases stay aliases
        self.cells = _each_once(self.home)
        self.values = None if tensor.is_meta else self.cells.clone()
        self.requires_grad, self.is_leaf = tensor.requires_grad, tensor.is_leaf
        self.grad = tensor.grad if tensor.is_leaf else None
        grad = Reachable(f"{item.path}.grad", self.grad, item.role)
        usable = self.grad is not None and self.grad.layout is torch.strided
        self.saved_grad = _SavedTensor(grad) if usable else None
        # Also keeps the dicts themselves: handles of hooks refer to them.
        self.hooks = {name: (getattr(tensor, name, None), hooks_of(tensor, name)) for name in HOOK_TABLES}

    def changes(self) -> Iterator[Change]:
        path, role, tensor = self.item.path, self.item.role, self.tensor
        if self._moved():
            yield Change(path, role, self.home, tensor)
        elif self.values is not None and not same_bits(self.cells, self.values):
            yield Change(path, role, tensor, tensor)
        if tensor.requires_grad != self.requires_grad:
            yield Change(f"{path}.requires_grad", Role.FLAG, self.requires_grad, tensor.requires_grad)
        grad = tensor.grad if tensor.is_leaf else None
        if grad is not self.grad:
            yield Change(f"{path}.grad", role, self.grad, grad)
        elif self.saved_grad is not None:
            yield from self.saved_grad.changes()
        for name, (_, hooks) in self.hooks.items():
            if hooks_of(tensor, name) != hooks:
                yield Change(f"{path}.{name}", Role.HOOK, hooks, hooks_of(tensor, name))

    def restore(self) -> None:
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
            if self.saved_grad is not None:
                self.saved_grad.restore()
            if tensor.grad is not self.grad:
                tensor.grad = self.grad
            for name, (registry, hooks) in self.hooks.items():
                if hooks_of(tensor, name) != hooks:
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


def _each_once(tensor: Tensor) -> Tensor:
    """Return a view without expanded axes, which can be written to."""
    if 0 not in tensor.stride():
        return tensor
    shown = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor[tuple(slice(0, 1) if step == 0 and size > 1 else slice(None) for size, step in shown)]


def _take_out_of_graph(tensor: Tensor, home: Tensor) -> None:
    """Make a tensor a leaf again after an in-place write that autograd recorded."""
    try:
        tensor.detach_()
    except RuntimeError:  # a view cannot be detached in place
        torch.utils.swap_tensors(tensor, home.detach())  # pyright: ignore[reportUnknownMemberType]


class _SavedDict:
    def __init__(self, item: Reachable) -> None:
        self.item = item
        self.mapping: dict[Any, Any] = item.value
        self.saved = dict(self.mapping)  # keeps the values alive, so that their ids are not reused
        self.keys, self.values = list(map(id, self.saved)), list(map(id, self.saved.values()))

    def changes(self) -> Iterator[Change]:
        yield from changed_entries(self.item, self.saved, self.mapping)
        now = list(self.mapping)
        registered = self.item.role in (Role.PARAMETER, Role.BUFFER, Role.MODULE)
        if registered and now != list(self.saved) and set(now) == set(self.saved):
            path = f"order in {self.item.path or 'the model'}"
            yield Change(path, self.item.role, ", ".join(self.saved), ", ".join(now))

    def restore(self) -> None:
        # Restores the order too: optimisers and checkpoints depend on the order of submodules and parameters.
        if list(map(id, self.mapping)) != self.keys or list(map(id, self.mapping.values())) != self.values:
            self.mapping.clear()
            self.mapping.update(self.saved)


class _SavedClass:
    """The class of a module: parametrizations and sharding replace it."""

    def __init__(self, item: Reachable) -> None:
        self.item = item
        self.module: nn.Module = item.value
        self.cls: type[nn.Module] = type(self.module)

    def changes(self) -> Iterator[Change]:
        if type(self.module) is not self.cls:
            path = f"{self.item.path}.__class__".lstrip(".")
            yield Change(path, Role.ATTRIBUTE, self.cls.__name__, type(self.module).__name__)

    def restore(self) -> None:
        if type(self.module) is not self.cls:
            self.module.__class__ = self.cls


class _SavedTable:
    def __init__(self, item: Reachable) -> None:
        self.item = item
        self.table: AttributeTable = item.value
        self.saved = self.table.read()

    def changes(self) -> Iterator[Change]:
        yield from changed_entries(self.item, self.saved, self.table.read())

    def restore(self) -> None:
        now = self.table.read()
        for name in now.keys() - self.saved.keys():
            self.table.remove(name)
        for name, value in self.saved.items():
            if now.get(name, MISSING) is not value:
                self.table.write(name, value)


class _SavedItems:
    """A list, a deque or a set."""

    def __init__(self, item: Reachable) -> None:
        self.item = item
        self.items: Any = item.value
        self.saved = list(cast("list[Any]", item.value))
        self.is_set = isinstance(item.value, set)

    def changes(self) -> Iterator[Change]:
        now = list(self.items)
        if self.items != set(self.saved) if self.is_set else len(now) != len(self.saved):
            yield Change(self.item.path, self.item.role, self.saved, self.items)
        elif not self.is_set:
            yield from changed_entries(self.item, dict(enumerate(self.saved)), dict(enumerate(now)))

    def restore(self) -> None:
        if list(map(id, self.items)) != list(map(id, self.saved)):
            self.items.clear()
            add = self.items.update if self.is_set else self.items.extend
            add(self.saved)


class _SavedState:
    """The state of a generator, or the values of a NumPy array."""

    def __init__(self, item: Reachable) -> None:
        self.item, self.value = item, item.value
        self.is_array = has_attribute(item.value, "tobytes")
        self.saved = item.value.copy() if self.is_array else read_state(item.value)

    def changes(self) -> Iterator[Change]:
        if not self._is_same():
            yield Change(self.item.path, self.item.role, self.value, self.value)

    def restore(self) -> None:
        if self._is_same():
            return
        if self.is_array:
            self.value[...] = self.saved
        else:
            write_state(self.value, self.saved)

    def _is_same(self) -> bool:
        if self.is_array:
            return equal(self.value, self.saved)
        return same_state(read_state(self.value), self.saved)
