"""Private copies of a model, so that nothing that happens while it is explained reaches the user's own."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false
from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def fake_copy(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Return a copy of a model whose tensors have shapes and no values; one on meta counts as on the CPU."""
    memo: dict[int, Any] = {}
    with mode, torch.inference_mode(False):
        for tensor in [*model.parameters(), *model.buffers()]:
            memo[id(tensor)] = _fake(tensor, mode)
        return _copied(model, memo, FakeCopyMode(mode))


def real_copy(model: nn.Module) -> nn.Module:
    """Return a copy that shares the weights and has buffers of its own."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    return _copied(model, memo, contextlib.nullcontext())


def _fake(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    device = "cpu" if tensor.device.type == "meta" else tensor.device
    if tensor.layout is not torch.strided or type(tensor) not in (torch.Tensor, nn.Parameter):
        return mode.from_tensor(tensor, static_shapes=True)
    fake = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device=device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(fake, requires_grad=tensor.requires_grad)
    return fake


def _copied(model: nn.Module, memo: dict[int, Any], mode: Any) -> nn.Module:
    try:
        with mode:
            return copy.deepcopy(model, memo)
    except Exception:  # an attribute that cannot be copied, such as a lock or an open file
        tensors = {key: value for key, value in memo.items() if isinstance(value, torch.Tensor)}
        return _shallow(model, tensors, {})


def _shallow(module: nn.Module, tensors: dict[int, Any], done: dict[int, nn.Module]) -> nn.Module:
    """Copy modules and their tables; all other attributes are the original's."""
    if id(module) in done:
        return done[id(module)]
    new = module.__class__.__new__(module.__class__)
    done[id(module)] = new
    state = dict(vars(module))
    for table in ("_parameters", "_buffers"):
        state[table] = {name: _replaced(value, tensors) for name, value in state[table].items()}
    state["_modules"] = {
        name: None if child is None else _shallow(child, tensors, done)
        for name, child in state["_modules"].items()
    }
    for hooks in _HOOKS:
        if hooks in state:
            state[hooks] = state[hooks].copy()
    new.__dict__.update(state)
    return new


def _replaced(value: Any, tensors: dict[int, Any]) -> Any:
    if value is None or id(value) in tensors:
        return tensors.get(id(value))
    return value.clone()


def drop_user_hooks(model: nn.Module) -> int:
    """Take the user's own hooks off a copy, since they may write anywhere; torch's own stay.

    Returns:
        How many there were.
    """
    count = 0
    for module in model.modules():
        for table in _HOOKS[:2]:
            hooks: dict[int, Any] = getattr(module, table)
            for key, hook in list(hooks.items()):
                home = getattr(hook, "__module__", "") or type(hook).__module__
                if not (home.startswith("torch.") or type(hook).__module__.startswith("torch.")):
                    del hooks[key]
                    count += 1
    return count
