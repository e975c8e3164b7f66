"""Everything a model holds, remembered, so that it is handed back as it came."""

from __future__ import annotations

from collections import OrderedDict, deque
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from .compare import same_bits

_DEPTH = 6  # containers in containers: deeper ones are not a model's state
_PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device)
_CODE = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)


class _TensorState:
    """The values of one tensor, in the memory where they were."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.home = tensor.detach()  # shares the memory, so that aliases stay aliases
        self.values = None if tensor.is_meta else self.home.clone()
        self.requires_grad = tensor.requires_grad
        grad = tensor.grad if tensor.is_leaf else None
        self.grad = grad
        self.grad_values = None if grad is None else grad.detach().clone()

    def restore(self) -> None:
        tensor = self.tensor
        with torch.no_grad():
            moved = (
                tensor.dtype != self.home.dtype
                or tensor.shape != self.home.shape
                or tensor.device != self.home.device
                or tensor.stride() != self.home.stride()
                or (not tensor.is_meta and tensor.data_ptr() != self.home.data_ptr())
            )
            if moved:
                tensor.data = self.home
            if self.values is not None and not same_bits(self.home, self.values):
                self.home.copy_(self.values)
            if tensor.is_leaf:
                if tensor.requires_grad != self.requires_grad:
                    tensor.requires_grad_(self.requires_grad)
                if tensor.grad is not self.grad:
                    tensor.grad = self.grad
                if self.grad is not None and self.grad_values is not None:
                    self.grad.detach().copy_(self.grad_values)


class Snapshot:
    """What a model holds: modules, parameters, buffers, gradients, hooks, modes and attributes.

    Containers and plain objects among the attributes are remembered to a depth of six, by identity: restoring
    puts their contents back into the same objects.

    Args:
        model: the model to remember. It may be changed in any way before `restore`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._tensors: dict[int, _TensorState] = {}
        self._dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        self._lists: list[tuple[list[Any] | deque[Any], list[Any]]] = []
        self._sets: list[tuple[set[Any], set[Any]]] = []
        self._seen: dict[int, Any] = {}  # the objects are kept, so that their ids stay theirs
        for module in model.modules():
            self._remember(module, 0)

    def restore(self) -> None:
        """Put everything back."""
        for mapping, saved in self._dicts:
            same = len(mapping) == len(saved) and all(
                key in mapping and mapping[key] is value for key, value in saved.items()
            )
            if not same or (isinstance(mapping, OrderedDict) and list(mapping) != list(saved)):
                mapping.clear()
                mapping.update(saved)
        for items, saved_items in self._lists:
            if len(items) != len(saved_items) or any(
                a is not b for a, b in zip(items, saved_items, strict=True)
            ):
                items.clear()
                items.extend(saved_items)
        for members, saved_members in self._sets:
            if members != saved_members:
                members.clear()
                members.update(saved_members)
        for state in self._tensors.values():
            state.restore()

    def _remember(self, value: Any, depth: int) -> None:
        if isinstance(value, (*_PLAIN, *_CODE)) or id(value) in self._seen or depth > _DEPTH:
            return
        self._seen[id(value)] = value
        if isinstance(value, Tensor):
            if not value.is_inference() and value.layout is torch.strided:
                self._tensors[id(value)] = _TensorState(value)
        elif isinstance(value, dict):
            mapping = cast("dict[Any, Any]", value)
            self._dicts.append((mapping, dict(mapping)))
            self._inside(list(mapping.values()), depth)
        elif isinstance(value, list | deque):
            items = cast("list[Any]", value)
            self._lists.append((items, list(items)))
            self._inside(list(items), depth)
        elif isinstance(value, set):
            members = cast("set[Any]", value)
            self._sets.append((members, set(members)))
        elif isinstance(value, tuple):
            self._inside(list(cast("tuple[Any, ...]", value)), depth)
        elif isinstance(getattr(value, "__dict__", None), dict):
            self._remember(vars(value), depth + (not isinstance(value, nn.Module)))

    def _inside(self, values: list[Any], depth: int) -> None:
        for value in values:
            self._remember(value, depth if isinstance(value, nn.Module) else depth + 1)
