"""Everything that a model holds: each object once, under the name that its code would use."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

PLAIN = (str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.layout)
"""Values that cannot change, so that comparing them is enough."""

_PLAIN_TYPES = frozenset(PLAIN)
_DEPTH = 6  # containers in containers, counted from a module: deeper ones are not a model's state
_MANY = 10_000  # a longer container is a vocabulary or a dataset: remembered, but not looked into
_CODE = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)
# Of the standard library only what serves as a container: a logger leads to every logger of the process.
_CONTAINERS = frozenset({"argparse", "collections", "types", "weakref"})


class Kind(StrEnum):
    """What a value is to the module that holds it."""

    PARAMETER = "parameter"
    BUFFER = "buffer"
    MODULE = "submodule"
    HOOK = "hook"
    FLAG = "flag"
    ATTRIBUTE = "attribute"


@dataclass(frozen=True)
class Holding:
    """One object that a model holds, or the namespace of one.

    Args:
        path: `"conv.weight"`, `"cache['mask'][0]"`; `""` for the namespace of the model.
        value: the object; a dict for a namespace.
        kind: what it, or what is in it, is to its module.
        dotted: whether what is in it is named `path.key`, not `path[key]`.
    """

    path: str
    value: Any
    kind: Kind = Kind.ATTRIBUTE
    dotted: bool = False

    def name(self, key: object) -> str:
        """The path of something in it."""
        if self.dotted:
            return f"{self.path}.{key}".lstrip(".")
        return f"{self.path}[{key!r}]" if isinstance(key, (*PLAIN, tuple)) else f"{self.path}[...]"

    def kind_of(self, key: object) -> Kind:
        """The kind of something in it."""
        return Kind.FLAG if self.dotted and key == "training" else self.kind


@dataclass(frozen=True, eq=False)
class Namespace:
    """The attributes of an object that keeps them outside of a dict: a class, or one with `__slots__`."""

    owner: Any
    names: tuple[str, ...]

    def read(self) -> dict[str, Any]:
        """Return those that are set now."""
        if isinstance(self.owner, type):
            return _state_of_class(self.owner)
        return {name: getattr(self.owner, name) for name in self.names if hasattr(self.owner, name)}


def holdings(model: nn.Module) -> list[Holding]:
    """Return what a model holds: namespaces of its modules, tensors, containers, plain objects, generators.

    Also what its classes hold, since a list in the body of a class is shared by all instances, and what is
    not registered. Values that cannot change are left out: they are in the containers.
    """
    return _Walk(model).found


class _Walk:
    def __init__(self, model: nn.Module) -> None:
        self.found: list[Holding] = []
        self.seen: dict[int, Any] = {}  # the objects are kept, so that their ids stay theirs
        for path, module in cast("Iterable[tuple[str, nn.Module]]", model.named_modules()):
            self.visit(Holding(path, module), 0)

    def visit(self, holding: Holding, depth: int) -> None:
        value = holding.value
        if id(value) in self.seen or depth > _DEPTH:
            return
        self.seen[id(value)] = value
        if isinstance(value, dict):
            self.namespace(holding, depth + 1)
        elif isinstance(value, Tensor):
            self.found.append(holding)
            self.namespace(Holding(holding.path, value.__dict__, dotted=True), depth)
        elif isinstance(value, nn.Module):
            self.module(holding.path, value)
        elif isinstance(value, (*PLAIN, *_CODE)):
            return
        elif isinstance(value, list | deque | set | tuple | frozenset):
            if not isinstance(value, tuple | frozenset):
                self.found.append(holding)
            items = cast("Iterable[Any]", value)
            self.inside(holding, list(enumerate(items)), depth + 1)
        elif isinstance(value, torch.Generator | random.Random) or _of_numpy(value):
            self.found.append(holding)
        elif not _foreign(holding.value):
            self.plain_object(holding.path, value, depth)

    def module(self, path: str, module: nn.Module) -> None:
        self.found.append(Holding(path, module))
        own = vars(module)
        for name, kind in _REGISTERED.items():
            if isinstance(own.get(name), dict):
                self.visit(Holding(path, own[name], kind, dotted=True), -1)
        self.namespace(Holding(path, own, dotted=True), 0)
        if isinstance(module, torch.jit.ScriptModule):  # keeps its tensors and its mode elsewhere
            self.found.append(
                Holding(path, Namespace(module, ("training",)), dotted=True, kind=Kind.ATTRIBUTE)
            )
            for name, parameter in module.named_parameters(recurse=False):
                self.visit(Holding(f"{path}.{name}".lstrip("."), parameter, Kind.PARAMETER), 0)
            for name, buffer in module.named_buffers(recurse=False):
                self.visit(Holding(f"{path}.{name}".lstrip("."), buffer, Kind.BUFFER), 0)
        for cls in type(module).__mro__:
            if not cls.__module__.startswith(("torch.", "builtins", "abc", "typing", "tinynets.module")):
                self.whole_class(cls)

    def whole_class(self, cls: type) -> None:
        if id(cls) not in self.seen:
            self.seen[id(cls)] = cls
            holding = Holding(cls.__name__, Namespace(cls, ()), dotted=True)
            self.found.append(holding)
            self.inside(holding, list(_state_of_class(cls).items()), 1)

    def plain_object(self, path: str, value: Any, depth: int) -> None:
        if isinstance(getattr(value, "__dict__", None), dict):
            self.namespace(Holding(path, vars(value), dotted=True), depth + 1)
        slots = tuple(
            name
            for cls in type(value).__mro__
            for name in _names(cls.__dict__.get("__slots__", ()))
            if not name.startswith("__")
        )
        if slots:
            namespace = Namespace(value, slots)
            holding = Holding(path, namespace, dotted=True)
            self.found.append(holding)
            self.inside(holding, list(namespace.read().items()), depth + 1)

    def namespace(self, holding: Holding, depth: int) -> None:
        mapping = cast("dict[Any, Any]", holding.value)
        self.seen[id(mapping)] = mapping
        self.found.append(holding)
        if mapping:
            self.inside(holding, list(mapping.items()), depth)

    def inside(self, holding: Holding, items: list[tuple[Any, Any]], depth: int) -> None:
        if len(items) > _MANY:
            return
        for key, value in items:
            if type(value) not in _PLAIN_TYPES:
                kind = Kind.HOOK if holding.dotted and str(key).endswith("hooks") else holding.kind
                self.visit(Holding(holding.name(key), value, kind), depth)


_REGISTERED = {"_parameters": Kind.PARAMETER, "_buffers": Kind.BUFFER, "_modules": Kind.MODULE}


def _state_of_class(owner: type) -> dict[str, Any]:
    """What the body of a class holds that can be state: no code, no descriptor, nothing of Python's own."""
    members = cast("dict[str, Any]", vars(owner)).items()
    return {name: value for name, value in members if not name.startswith(("__", "_abc_")) and _state(value)}


def _state(value: Any) -> bool:
    return type(value) in _PLAIN_TYPES or not (_foreign(value) or hasattr(value, "__get__"))


def _names(slots: str | Iterable[str]) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _foreign(value: object) -> bool:
    """Whether an object is the business of Python or torch, not of a model."""
    if isinstance(value, dict | list | deque | set | tuple | Tensor | nn.Module | torch.Generator):
        return False
    cls = type(value)
    if isinstance(value, MappingProxyType | type):
        return True
    top = cls.__module__.partition(".")[0]
    return (top in sys.stdlib_module_names and top not in _CONTAINERS) or cls.__module__.startswith("torch._")


def _of_numpy(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    kinds = () if numpy is None else (numpy.ndarray, numpy.random.Generator, numpy.random.RandomState)
    return isinstance(value, kinds)
