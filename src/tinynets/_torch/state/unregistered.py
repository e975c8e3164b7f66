"""Modules and tensors that a model does not register: hidden from `eval()`, `.to()` and `state_dict()`."""

from __future__ import annotations

from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor  # no public name; what holds one is not a model's state

from ..modules.module_tables import computed_by_a_hook
from .model_walk import Reachable, reachable_by_attributes


def unregistered(model: nn.Module) -> list[Reachable]:
    """Return every tensor and module that is not registered with the module that holds it.

    Of an unregistered module, only what it hides in turn: the rest is registered with it. Left out is
    what a pre-hook computes before each call, such as the `weight` of the old weight norm.
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
    """Return the unregistered modules by their path in the code."""
    return {item.path: item.value for item in unregistered(model) if isinstance(item.value, nn.Module)}


def unregistered_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return every unregistered tensor with its path, and what unregistered modules have registered."""
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
