"""Detect changes of a traced model at each call: submodules, attributes (also in lists, dicts and objects),
hooks, classes, `tn.checks`; what is ignored, and what cannot be watched: NumPy arrays, slots.

Dicts are compared by `==`, which compares the identity of each value first: this takes 0.2 us for the
attributes of a module, and 1 us after a convolution has evicted them from the CPU caches. So the copies share
as much as possible: their keys, and one table for all empty ones. The values of tensors are not compared: a
straight line reads the tensors of the model.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from operator import attrgetter, is_
from typing import Any, cast

import torch
from torch import Tensor, nn

from .._contract.toggle import toggle
from .._torch.modules.module_tables import (
    MARKS,
    TABLES,
    breadth_first,
    forward_hook_tables,
    global_forward_hook_tables,
    tables_of,
)
from .._torch.state.attribute_tables import SlotsTable
from .._torch.state.foreign import PLAIN_TYPES, is_foreign, is_of_numpy
from .._torch.state.model_walk import unregistered_modules
from ..modes.with_blocks import open_blocks

_IGNORED = MARKS | {"training", "train"}  # a straight line runs in eval mode, whatever the flags
_CONTAINERS = (list, dict, set, deque)
_DATA = (int, float, complex, bool, str, bytes, tuple, type(None), Tensor, *_CONTAINERS)  # of classes
_DEPTH = 4
_EMPTY: dict[str, Any] = {}


class Watch:
    """A model at one moment."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = list(breadth_first([model, *unregistered_modules(model).values()]))
        self.hidden_state = ""  # why changes of the model cannot be seen
        self.live: list[Any] = []  # dicts that belong to the model and to objects among its attributes
        self.then: list[Any] = []  # what they held
        self._seen: set[int] = set()
        for module in self.modules:
            for table in tables_of(module):
                self._add(table, table.copy() or _EMPTY)
        self._tables = len(self.live)
        for module in self.modules:
            self._add_attributes(module, 0)
        self.types = list(map(type, self.modules))
        self.must_be_empty: list[Any] = global_forward_hook_tables()  # and those of the modules
        for module in self.modules:
            self.must_be_empty += forward_hook_tables(module)
        self.class_facts = list(_class_facts(self.types))
        for _, names, values in self.class_facts:
            held = {n: v for n, v in zip(names, values, strict=True) if type(v) in _CONTAINERS}
            if held:
                self._add(held, {name: self._copied(value, name, 0) for name, value in held.items()})
        self.toggle = toggle.on

    def refusal(self) -> str:
        """Return why the model itself must run in every call, or ""."""
        return "a hook has to run at every call" if any(self.must_be_empty) else self.hidden_state

    def constants(self, *, in_block: bool) -> dict[str, Any]:
        """Return the values that `tests` reads; unless `in_block`, an open mode block fails the tests."""
        return {
            "attributes": self.live,
            "traced_attributes": self.then,
            "modules": self.modules,
            "module_types": self.types,
            "hooks": self.must_be_empty if in_block else [*self.must_be_empty, open_blocks],
            "checks": toggle,
            **{f"class{i}": kind for i, (kind, _, _) in enumerate(self.class_facts)},
            **{
                f"class{i}_{name}": value
                for i, (_, names, values) in enumerate(self.class_facts)
                for name, value in zip(names, values, strict=True)
            },
        }

    def places(self) -> dict[int, tuple[int, str]]:
        """Map the id of each parameter and buffer to its place: index of its module, and its name."""
        return {
            id(tensor): (index, name)
            for index, module in enumerate(self.modules)
            for table in tables_of(module)[:2]
            for name, tensor in table.items()
            if tensor is not None
        }

    def tensor_at(self, index: int, name: str) -> Tensor:
        """Return the parameter or buffer at a place."""
        parameters, buffers, _ = tables_of(self.modules[index])
        tensor = parameters[name] if name in parameters else buffers[name]
        assert tensor is not None
        return tensor

    def tests(self) -> list[str]:
        """Return expressions over `constants` that are true while the model is unchanged."""
        return [
            f"checks.on == {self.toggle}",
            "not any(hooks)",
            "attributes == traced_attributes",
            "list(map(type, modules)) == module_types",
            *(
                " and ".join(f"class{i}.{name} is class{i}_{name}" for name in names)
                for i, (_, names, _) in enumerate(self.class_facts)
            ),
        ]

    def changed(self) -> bool:
        """Return whether the model has changed, including its flags and the identity of its tensors."""
        try:
            return (
                self.live != self.then
                or list(map(type, self.modules)) != self.types
                or toggle.on != self.toggle
                or any(attrgetter(*names)(kind) != values for kind, names, values in self.class_facts)
            )
        except Exception:  # values that cannot be compared count as changed
            return True

    def same_structure(self, other: Watch) -> bool:
        """Return whether both differ only in mode flags and in the identity of tensors."""
        try:
            return (
                self.toggle == other.toggle
                and len(self.modules) == len(other.modules)
                and all(map(is_, self.modules, other.modules))
                and self.types == other.types
                and self.class_facts == other.class_facts
                and self._structure() == other._structure()
            )
        except Exception:
            return False

    def _structure(self) -> list[dict[str, Any]]:
        first: dict[int, int] = {}
        tables = [
            {name: _metadata(value, first) for name, value in table.items()}
            for table in self.then[: self._tables]
        ]
        return [
            *tables,
            *({n: v for n, v in t.items() if n not in _IGNORED} for t in self.then[self._tables :]),
        ]

    def _add(self, live: dict[str, Any], then: dict[str, Any]) -> None:
        self._seen.add(id(live))
        self.live.append(live)
        self.then.append(then)

    def _add_attributes(self, owner: object, depth: int) -> None:
        table = vars(owner)
        own = table.copy()  # shares its keys with the instances of the class
        self._add(table, own)
        for name, value in table.items():
            if name not in TABLES:
                own[name] = self._copied(value, name, depth)

    def _copied(self, value: Any, name: str, depth: int) -> Any:
        """Return the value to compare with later: a copy of a container, else the value itself."""
        if isinstance(value, Tensor | nn.Module) or type(value) in PLAIN_TYPES or depth > _DEPTH:
            return value
        if is_of_numpy(value) or isinstance(value, bytearray):
            self.hidden_state = f"the values in {name}, a {type(value).__name__}, cannot be watched"
        elif type(value) in (list, tuple, set, frozenset, deque):
            return type(value)(self._copied(item, name, depth + 1) for item in value)
        elif type(value) is dict:
            items = cast("dict[Any, Any]", value)
            return {key: self._copied(item, name, depth + 1) for key, item in items.items()}
        elif not is_foreign(value) and SlotsTable.of(value) is not None:
            self.hidden_state = f"the slots of {name}, a {type(value).__name__}, cannot be watched"
        elif id(value) not in self._seen and _has_attributes(value):
            self._seen.add(id(value))
            self._add_attributes(value, depth + 1)
        return value


def _has_attributes(value: object) -> bool:
    own = isinstance(getattr(value, "__dict__", None), dict)
    return own and not is_foreign(value) and not isinstance(value, torch.Generator)


def _metadata(tensor: Any, first: dict[int, int]) -> Any:
    """Describe a tensor except for its values; tied tensors have the same number."""
    if not isinstance(tensor, Tensor):
        return tensor
    place = first.setdefault(id(tensor), len(first))
    return (type(tensor), tensor.shape, tensor.dtype, tensor.device, tensor.stride(), place)


def _class_facts(types: list[type]) -> Iterator[tuple[type, tuple[str, ...], Any]]:
    """Yield for each class the names and values of the attributes to compare."""
    for kind in dict.fromkeys(types):
        names: dict[str, None] = {"forward": None, "__call__": None}
        for base in kind.__mro__:
            home = base.__module__.partition(".")[0]
            if home in ("torch", "builtins") or base.__module__ == "tinynets.module":
                continue
            for name, value in vars(base).items():
                data = isinstance(value, _DATA) and not name.startswith(("__", "_tn_"))
                if data or name.startswith("forward"):
                    names[name] = None
        found = tuple(sys.intern(name) for name in names)
        yield kind, found, attrgetter(*found)(kind)
