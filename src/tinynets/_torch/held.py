"""Tensors and modules that a model holds without registering them: hidden from `.to()` and `state_dict()`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

DEPTH = 3
"""Containers and objects in one another: what lies deeper is not a model's state."""
_INTERNAL = frozenset(vars(nn.Module()))
_OPAQUE = (
    *(str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device, torch.Generator),
    *(type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, FakeTensor),
)


@dataclass(frozen=True)
class Held:
    """A tensor or a module that is not registered.

    Args:
        path: how one gets there from the model: `encoder.layers[0]`.
        value: the tensor or module.
        owner: the module whose attribute leads there.
        attribute: that attribute.
        of_class: whether it is an attribute of the class, which all instances share.
    """

    path: str
    value: Tensor | nn.Module
    owner: nn.Module
    attribute: str
    of_class: bool = False


def named_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules of a model with their paths."""
    return [*model.named_modules()]  # pyright: ignore[reportUnknownVariableType]


def held(model: nn.Module) -> list[Held]:
    """Return every unregistered tensor and module in the attributes, containers and plain objects of a model.

    What a pre-hook of the module computes before each call (`weight` of a weight norm or of pruning) is left
    out: a hook that knows the name of the attribute is taken for its owner.
    """
    seen = {id(module) for module in model.modules()}
    seen |= {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    found: list[Held] = []
    for prefix, module in named_modules(model):
        instance = {name: value for name, value in vars(module).items() if name not in _INTERNAL}
        for name, value in instance.items():
            if not computed_by_a_hook(module, name):
                path = f"{prefix}.{name}" if prefix else name
                found += [Held(p, v, module, name) for p, v in _inside(path, value, 0, seen)]
        for klass in type(module).__mro__:
            for name, value in vars(klass).items() if klass is not nn.Module else ():
                if isinstance(value, Tensor | nn.Module) and id(value) not in seen:
                    seen.add(id(value))
                    found.append(Held(f"{klass.__name__}.{name}", value, module, name, of_class=True))
    return found


def held_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return every unregistered tensor with its path, those of unregistered modules among them."""
    tensors: list[tuple[str, Tensor]] = []
    for item in held(model):
        if isinstance(item.value, Tensor):
            tensors.append((item.path, item.value))
        else:
            state = (*item.value.named_parameters(), *item.value.named_buffers())
            tensors += [(f"{item.path}.{name}", tensor) for name, tensor in state]
    return tensors


def non_persistent(model: nn.Module) -> list[str]:
    """Return the names of the buffers that `state_dict` leaves out."""
    saved = model.state_dict(keep_vars=True)
    return [name for name, _ in model.named_buffers(remove_duplicate=False) if name not in saved]


def listed(names: list[str], most: int = 3) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def computed_by_a_hook(module: nn.Module, name: str) -> bool:
    """Return whether an attribute belongs to a pre-hook, which computes it anew before each call."""
    hooks: dict[int, object] = vars(module)["_forward_pre_hooks"]
    return any(name in getattr(hook, "__dict__", {}).values() for hook in hooks.values())


def _inside(path: str, value: Any, depth: int, seen: set[int]) -> Iterator[tuple[str, Tensor | nn.Module]]:
    if isinstance(value, _OPAQUE) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor | nn.Module):
        yield path, value
        return
    if depth == DEPTH:
        return
    if isinstance(value, dict):
        inner = [(f"{path}[{key!r}]", v) for key, v in cast("dict[Any, Any]", value).items()]
    elif isinstance(value, list | tuple | deque):
        inner = [(f"{path}[{index}]", v) for index, v in enumerate(cast("list[Any]", value))]
    else:
        attributes: dict[str, Any] = getattr(value, "__dict__", {})
        inner = [(f"{path}.{name}", v) for name, v in attributes.items()]
    for inner_path, inner_value in inner:
        yield from _inside(inner_path, inner_value, depth + 1, seen)
