"""Which objects of a model are looked into, registered or not: attributes, containers (6 levels, 10,000
items), closures, class attributes, hooks; and what is unregistered or not persistent.
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor  # no public name; fake tensors are not state of a model

from ..modules.module_tables import (
    BUFFERS,
    HOOK_TABLES,
    MODULES,
    PARAMETERS,
    TABLES,
    computed_by_a_hook,
    named_modules,
    own_tensors,
)
from .attribute_tables import AttributeTable, ClassTable, ClosureTable, SlotsTable
from .foreign import PLAIN, PLAIN_TYPES, is_foreign, is_foreign_module, is_of_numpy
from .walk_item import Reachable, Role

FOREIGN_ATTRIBUTES = "_foreign_attributes_"
"""The class attribute that lists attributes which refer to objects of other owners: they are not searched."""

_DEPTH = 6  # nesting of containers, counted from a module: deeper ones are not state of a model
_MANY = 10_000  # longer containers are vocabularies or datasets: they are listed but not searched
_CONTAINERS = (list, tuple, set, frozenset, deque)
_WITHOUT_ATTRIBUTES = {
    dict,
    OrderedDict,
    defaultdict,
    Counter,
    list,
    tuple,
    set,
    frozenset,
    deque,
    torch.Size,
}
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType, partial)
_REGISTERED = {PARAMETERS: Role.PARAMETER, BUFFERS: Role.BUFFER, MODULES: Role.MODULE}
_WITHOUT_STATE = ("torch.", "builtins", "abc", "typing", "tinynets.module")  # classes of these modules


def reachable(model: nn.Module) -> list[Reachable]:
    """Return the contents of a model: modules, their attributes, tensors, containers, objects, generators.

    Includes the attributes of its classes, since a list in the body of a class is shared by all instances,
    and what functions among the attributes refer to: closures, defaults, arguments of a `partial`, the object
    of a bound method. Immutable values are left out: they are in the containers.
    """
    walk = _Walk(skip=frozenset())
    walk.module(Reachable("", model, Role.MODULE))  # first: registered names take precedence
    walk.all_attributes()
    walk.all_hooks()
    return walk.found


def reachable_by_attributes(model: nn.Module) -> list[Reachable]:
    """Return the part of `reachable` that is not registered, at a fraction of the cost.

    What hooks and the attributes of tensors refer to is left out: `forward` does not use it.
    """
    walk = _Walk(skip=TABLES)
    walk.modules = named_modules(model)
    walk.seen = {id(value): value for _, module in walk.modules for value in (module, *own_tensors(module))}
    walk.all_attributes()
    return walk.found


class _Walk:
    def __init__(self, skip: frozenset[str]) -> None:
        self.skip = skip  # attributes of modules that are not searched
        self.found: list[Reachable] = []
        self.seen: dict[int, Any] = {}  # keeps the objects alive, so that their ids stay unique
        self.modules: list[tuple[str, nn.Module]] = []  # modules whose attributes are still to be searched
        self.hooks: list[Reachable] = []
        self.in_hooks = False

    def all_attributes(self) -> None:
        """Search the attributes of all modules, including modules found on the way."""
        for path, module in self.modules:  # grows
            self.attributes(path, module)
        self.modules.clear()

    def all_hooks(self) -> None:
        """Search the hooks last: an object that an attribute refers to as well gets the attribute's name."""
        self.in_hooks = True
        for hooks in self.hooks:  # grows
            self.contents(hooks, [*hooks.value.items()], 1)
            self.all_attributes()

    def module(self, item: Reachable) -> None:
        """Add a module and everything registered with it."""
        path, module = item.path, cast("nn.Module", item.value)
        self.seen[id(module)] = module
        self.found.append(item)
        self.modules.append((path, module))
        own = vars(module)
        for name, role in _REGISTERED.items():
            if isinstance(own.get(name), dict):
                self.table(Reachable(path, own[name], role, dotted=True), 0)
        if isinstance(module, torch.jit.ScriptModule):  # keeps its tensors and its mode elsewhere
            self.found.append(Reachable(path, SlotsTable(module, ("training",)), dotted=True))
            for name, parameter in module.named_parameters(recurse=False):
                self.visit(Reachable(f"{path}.{name}".lstrip("."), parameter, Role.PARAMETER), 0)
            for name, buffer in module.named_buffers(recurse=False):
                self.visit(Reachable(f"{path}.{name}".lstrip("."), buffer, Role.BUFFER), 0)

    def attributes(self, path: str, module: nn.Module) -> None:
        """Search the attributes of a module and of its class."""
        own = vars(module)
        # Most layers of torch have little else than numbers.
        if not self.skip or any(type(own[name]) not in PLAIN_TYPES for name in own.keys() - self.skip):
            self.table(Reachable(path, own, dotted=True, owner=module), 0, self.skip)
        classes = type(module).__mro__ if id(type(module)) not in self.seen else ()
        for cls in classes:
            if id(cls) in self.seen:
                continue
            self.seen[id(cls)] = cls
            if not cls.__module__.startswith(_WITHOUT_STATE):
                item = Reachable(cls.__name__, ClassTable(cls), dotted=True, owner=module, of_class=True)
                self.attribute_table(item, 1)

    def visit(self, item: Reachable, depth: int) -> None:
        """Add one object and its contents."""
        value = item.value
        if id(value) in self.seen or depth > _DEPTH:
            return
        if isinstance(value, nn.Module):
            self.module(item)
            return
        self.seen[id(value)] = value
        if isinstance(value, dict):
            self.table(item, depth + 1)
            self.attributes_of_subclass(item, depth)
        elif isinstance(value, Tensor):
            self.found.append(item)
            self.table(item.at(item.path, value.__dict__, role=Role.ATTRIBUTE, dotted=True), depth)
        elif isinstance(value, (*PLAIN, type, ModuleType)):
            return
        elif isinstance(value, _CONTAINERS):
            if not isinstance(value, tuple | frozenset):
                self.found.append(item)
            values = cast("Collection[Any]", value)
            if len(values) <= _MANY:
                self.contents(item, [*enumerate(values)], depth + 1)
            self.attributes_of_subclass(item, depth)
        elif isinstance(value, _FUNCTIONS):
            self.function(item, depth)
        elif isinstance(value, torch.Generator | random.Random) or is_of_numpy(value):
            self.found.append(item)
        elif not is_foreign(value):
            self.object(item, depth)

    def attributes_of_subclass(self, item: Reachable, depth: int) -> None:
        """Search the attributes of a container of a user-defined class."""
        if type(item.value) not in _WITHOUT_ATTRIBUTES:
            self.object(item, depth)

    def object(self, item: Reachable, depth: int) -> None:
        """Search the attributes of a plain object, in its dict and its slots."""
        value = item.value
        skip: Collection[str] = getattr(type(cast("object", value)), FOREIGN_ATTRIBUTES, ())
        if isinstance(getattr(value, "__dict__", None), dict):
            self.table(item.at(item.path, vars(value), role=Role.ATTRIBUTE, dotted=True), depth + 1, skip)
        if slots := SlotsTable.of(value):
            self.attribute_table(item.at(item.path, slots, role=Role.ATTRIBUTE, dotted=True), depth + 1)

    def function(self, item: Reachable, depth: int) -> None:
        """Search what a function refers to, unless it is from torch or Python, or in a hook."""
        function, path = item.value, item.path
        if self.in_hooks:
            return
        if isinstance(function, partial):
            parts = {"func": function.func, "args": function.args, "keywords": function.keywords}
            self.table(item.at(path, vars(function), dotted=True), depth + 1)
        elif not isinstance(function, FunctionType):
            parts = {"__self__": function.__self__, "__func__": getattr(function, "__func__", None)}
        elif is_foreign_module(str(function.__module__)):
            return
        else:
            parts = {"__defaults__": function.__defaults__, "__kwdefaults__": function.__kwdefaults__}
            if closure := ClosureTable.of(function):
                self.attribute_table(item.at(f"{path}.<closure>", closure, dotted=True), depth + 1)
            if vars(function):
                self.table(item.at(path, vars(function), dotted=True), depth + 1)
        self.contents(item.at(path, None, dotted=True), parts.items(), depth)

    def attribute_table(self, item: Reachable, depth: int) -> None:
        """Add a table of attributes that is not a dict, and its contents."""
        self.found.append(item)
        table = cast("AttributeTable", item.value)
        self.contents(item, table.read().items(), depth)

    def table(self, item: Reachable, depth: int, skip: Collection[str] = ()) -> None:
        """Add a dict and its contents."""
        mapping = cast("dict[Any, Any]", item.value)
        self.seen[id(mapping)] = mapping
        self.found.append(item)
        if len(mapping) > _MANY:
            return
        entries = [
            (key, value)
            for key, value in mapping.items()
            if type(value) not in PLAIN_TYPES and not (skip and key in skip)
        ]
        if entries:
            self.contents(item, entries, depth)
        if mapping and not item.dotted:
            keys = [(place, key) for place, key in enumerate(mapping) if type(key) not in PLAIN_TYPES]
            self.contents(item.at(f"list({item.path})", mapping), keys, depth)

    def contents(self, parent: Reachable, items: Collection[tuple[Any, Any]], depth: int) -> None:
        """Visit the contents of a container or a table of attributes."""
        for key, value in items:
            if type(value) in PLAIN_TYPES or id(value) in self.seen or _is_sizes(value):
                continue
            item = parent.at(parent.name(key), value)
            if parent.dotted and not parent.attribute:  # attributes of a module, not of an object inside it
                item.attribute = str(key)
                if key in HOOK_TABLES:
                    item.role = Role.HOOK
                    self.seen[id(value)] = value
                    self.found.append(item)
                    if value:
                        self.hooks.append(item)
                    continue
            self.visit(item, depth)


def _is_sizes(value: Any) -> bool:
    """Return whether a value is a tuple of plain values, such as a kernel size, which need not be visited."""
    return type(value) is tuple and PLAIN_TYPES.issuperset(map(type, cast("tuple[Any, ...]", value)))


def unregistered(model: nn.Module) -> list[Reachable]:
    """Return every tensor and module that is not registered with the module that refers to it.

    Tensors and modules that are registered with an unregistered module are not listed, nor are attributes
    that a pre-hook computes before each call, such as the `weight` of the old weight norm.
    """
    return [
        item
        for item in reachable_by_attributes(model)
        if item.owner is not None
        and isinstance(item.value, Tensor | nn.Module)
        and not isinstance(item.value, FakeTensor)
        and not computed_by_a_hook(item.owner, item.attribute)
    ]


def unregistered_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the unregistered modules by their paths in the code."""
    return {item.path: item.value for item in unregistered(model) if isinstance(item.value, nn.Module)}


def unregistered_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return unregistered tensors, and all parameters and buffers of unregistered modules, with paths."""
    found: list[tuple[str, Tensor]] = []
    for item in unregistered(model):
        if isinstance(item.value, Tensor):
            found.append((item.path, item.value))
        else:
            state = (*item.value.named_parameters(), *item.value.named_buffers())
            found += [(f"{item.path}.{name}", tensor) for name, tensor in state]
    return found


def non_persistent(model: nn.Module) -> list[str]:
    """Return the names of the buffers that `state_dict` leaves out."""
    saved = model.state_dict(keep_vars=True)
    return [name for name, _ in model.named_buffers(remove_duplicate=False) if name not in saved]
