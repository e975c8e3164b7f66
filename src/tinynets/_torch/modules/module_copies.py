"""Private copies of a model for `tn.explain`, proofs and traces: fake or shared tensors, attributes that
cannot be copied, and which hooks count as the user's and are removed.

`copy.deepcopy(module)` is the public way, and is tried first; where an attribute, such as a lock or an open
file, cannot be copied, the tables of the module are. Their names stand in every pickled module, so torch
cannot rename them lightly.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch
from torch import nn

from ..tracing.fake_tensors import FakeTensorMode, copying_to_fake, fake_like
from .module_tables import BUFFERS, HOOK_TABLES, MODULES, PARAMETERS


def fake_copy(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Return a copy of a model whose tensors have shapes and no values; one on meta counts as on the CPU."""
    with mode, torch.inference_mode(False):
        tensors = [*model.parameters(), *model.buffers()]
        return _deep_copy(
            model, {id(tensor): fake_like(tensor, mode) for tensor in tensors}, copying_to_fake(mode)
        )


def real_copy(model: nn.Module) -> nn.Module:
    """Return a copy that shares the weights and has buffers of its own."""
    shared: dict[int, torch.Tensor] = {id(parameter): parameter for parameter in model.parameters()}
    return _deep_copy(model, shared, contextlib.nullcontext())


def _deep_copy(model: nn.Module, tensors: dict[int, torch.Tensor], mode: Any) -> nn.Module:
    try:
        with mode:
            return copy.deepcopy(model, dict(tensors))
    except Exception:  # an attribute that cannot be copied, such as a lock or an open file
        return shallow_copy(model, tensors)


def shallow_copy(
    model: nn.Module, tensors: dict[int, torch.Tensor], done: dict[int, nn.Module] | None = None
) -> nn.Module:
    """Copy modules and their tables; all other attributes are the original's.

    The place of a tensor is taken by that which `tensors` has for its identity, else by a clone; `done` has
    the copies of modules.
    """
    done = {} if done is None else done
    if id(model) in done:
        return done[id(model)]
    new = done[id(model)] = model.__class__.__new__(model.__class__)
    state: dict[str, Any] = dict(vars(model))
    for table in (PARAMETERS, BUFFERS):
        state[table] = {name: _replaced(value, tensors) for name, value in state[table].items()}
    state[MODULES] = {
        name: None if child is None else shallow_copy(child, tensors, done)
        for name, child in state[MODULES].items()
    }
    state.update({table: state[table].copy() for table in HOOK_TABLES if state.get(table) is not None})
    new.__dict__.update(state)
    return new


def _replaced(value: torch.Tensor | None, tensors: dict[int, torch.Tensor]) -> torch.Tensor | None:
    if value is None:
        return None
    return tensors[id(value)] if id(value) in tensors else value.clone()


def drop_user_hooks(model: nn.Module) -> int:
    """Remove the user's own forward hooks, since they may write anywhere, not torch's; return how many."""
    count = 0
    for module in model.modules():
        for table in ("_forward_hooks", "_forward_pre_hooks"):
            hooks: dict[int, Any] = getattr(module, table)
            for key, hook in list(hooks.items()):
                home = getattr(hook, "__module__", "") or type(hook).__module__
                if not (home.startswith("torch.") or type(hook).__module__.startswith("torch.")):
                    del hooks[key]
                    count += 1
    return count


def attribute_of(module: nn.Module, name: str) -> Any:
    """Return an attribute, parameter, buffer or submodule without running code of the module; or None."""
    tables: tuple[dict[str, Any], ...] = (
        vars(module),
        *(vars(module)[table] for table in (PARAMETERS, BUFFERS, MODULES)),
    )
    return next((table[name] for table in tables if name in table), None)
