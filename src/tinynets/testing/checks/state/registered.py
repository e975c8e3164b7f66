"""The check `state.registered`."""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import nn

from ...._torch.state.model_walk import Reachable
from ...._torch.state.unregistered import unregistered
from ....errors import Failure
from ...definition import Level, check
from ...measure.state_compare import (
    storage,
)
from ...subject import Subject
from ...wording import quoted


@check("state.registered", Level.MUST, static=True)
def registered(subject: Subject) -> None:
    """Every tensor and module that the model holds is registered.

    Looked for in attributes and the class body: in containers, plain objects, partials, bound methods and
    closures up to six deep.

    Why: `.to()`, `.parameters()`, `state_dict()` and `.train()` see only what is registered. An optimizer
    does not train the rest, a GPU does not get it, a checkpoint does not hold it.
    Fix: lists of modules become `nn.ModuleList`, dicts `nn.ModuleDict`; a tensor that is trained becomes an
    `nn.Parameter`; one that is not, `self.register_buffer(name, tensor)`, with `persistent=False` if the
    constructor can make it again.
    Declare: a module that is hidden on purpose (a frozen teacher) is an exemption.
    """
    found = unregistered(subject.model)
    if found:
        kinds = sorted({_kind(item) for item in found})
        raise Failure(
            f"the model holds {' and '.join(kinds)} that are not registered",
            where=quoted([item.path for item in found]),
            cause=_unregistered(found[0], subject.model),
        )


def _kind(item: Reachable) -> str:
    if isinstance(item.value, nn.Module):
        return "modules"
    return "parameters" if isinstance(item.value, nn.Parameter) else "tensors"


def _unregistered(item: Reachable, model: nn.Module) -> str:
    name = f"`{type(item.owner).__name__}.{item.attribute}`"
    if item.of_class:
        return f"{name} is made in the class body, once for all instances: make it in __init__"
    holder: Any = getattr(item.owner, item.attribute)
    made = type(holder).__name__
    kind = "Dict" if isinstance(holder, dict) else "List"
    if isinstance(holder, FunctionType | MethodType | partial):
        return f"{name} is a {made} that uses it: make it an attribute of its own as well"
    if isinstance(item.value, nn.Module):
        return f"{name} is a {made}: use nn.Module{kind}"
    if isinstance(item.value, nn.Parameter):
        return f"{name} is a {made}: use nn.Parameter{kind}"
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        if storage(tensor) == storage(item.value):
            return f"it shares the memory of `{path}` until that is moved: compute it in forward"
    return f'{name} holds a plain tensor: self.register_buffer("{item.attribute}", ..., persistent=False)'
