"""Copies of a module that share what cannot be copied, and modules without user hooks.

`copy.deepcopy(module)` is the public way and is tried first. These functions are for modules with an
attribute that cannot be copied, such as a lock or an open file. The names of a module's tables are in every
pickled module, so torch cannot easily rename them.
"""

# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .module_tables import BUFFERS, HOOK_TABLES, MODULES, PARAMETERS


def shallow_copy(model: nn.Module, tensors: dict[int, torch.Tensor]) -> nn.Module:
    """Copy modules and their tables; all other attributes are shared with the original.

    Args:
        model: what to copy.
        tensors: identity of a parameter or buffer -> its replacement; others are cloned.
    """
    return _copied(model, tensors, {})


def _copied(module: nn.Module, tensors: dict[int, torch.Tensor], done: dict[int, nn.Module]) -> nn.Module:
    if id(module) in done:
        return done[id(module)]
    new = module.__class__.__new__(module.__class__)
    done[id(module)] = new
    state: dict[str, Any] = dict(vars(module))
    for table in (PARAMETERS, BUFFERS):
        state[table] = {name: _replaced(value, tensors) for name, value in state[table].items()}
    state[MODULES] = {
        name: None if child is None else _copied(child, tensors, done)
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
    """Remove the user's forward hooks, since they may write anywhere, and keep those of torch.

    Returns:
        The number of removed hooks.
    """
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
