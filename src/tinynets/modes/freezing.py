"""Freezing a part of a model: eval mode that sticks, and no gradients for its parameters."""

from __future__ import annotations

from torch import nn

from . import blocks
from .flags import call_train, flag_of, overrides_train, set_flag, switch, walk
from .frozen_train import Hold, freeze_parameters, hold_of, thaw_parameters
from .mode_context import ModeContext, require_models


class _Pass:
    """One pass through the block; also the mark that it leaves on each hold."""

    def __init__(self, modules: dict[nn.Module, None]) -> None:
        self.modules = modules
        self.holds: dict[nn.Module, Hold] = {}


class _Frozen(ModeContext[_Pass]):
    def _prepare(self) -> _Pass:
        return _Pass(walk(self._models))

    def _enter(self, token: _Pass) -> None:
        with blocks.lock:
            token.holds = _hold(token.modules)
            for hold in token.holds.values():
                hold.blocks.add(token)

    def _leave(self, token: _Pass) -> None:
        with blocks.lock:
            for hold in token.holds.values():
                hold.blocks.discard(token)
            _release_unneeded(token.holds)


def frozen(*modules: nn.Module) -> _Frozen:
    """Eval mode that a `train()` of the parent does not undo, and parameters without gradients; then back.

    Raises:
        TypeError: an argument is not a module.
        ModeError: a module is exported, or another thread holds it in train mode (on entry).
    """
    return _Frozen("frozen", modules)


def freeze(*modules: nn.Module) -> None:
    """Do what `frozen` does, until `unfreeze`. Copies and pickles of the modules are frozen too.

    Raises:
        TypeError: an argument is not a module.
        ModeError: a module is exported, or another thread holds it in train mode.
    """
    require_models("freeze", modules)
    with blocks.lock:
        for hold in _hold(walk(modules)).values():
            hold.permanent = True


def unfreeze(*modules: nn.Module) -> None:
    """Undo `freeze`: every flag and `requires_grad` as it was. Inside a `frozen` block, when that ends.

    Raises:
        TypeError: an argument is not a module.
    """
    require_models("unfreeze", modules)
    with blocks.lock:
        holds = {module: hold for module in walk(modules) if (hold := hold_of(module)) is not None}
        for hold in holds.values():
            hold.permanent = False
        _release_unneeded(holds)


def is_frozen(module: nn.Module) -> bool:
    """Whether the module itself is frozen now."""
    return hold_of(module) is not None


def _hold(modules: dict[nn.Module, None]) -> dict[nn.Module, Hold]:
    """The modules' holds; those that have none get one, and are frozen by it."""
    wanted = dict.fromkeys(modules, False)
    blocks.refuse_conflict(wanted)
    holds: dict[nn.Module, Hold] = {}
    fresh: dict[nn.Module, Hold] = {}
    for module in modules:
        hold = hold_of(module)
        if hold is None:
            hold = fresh[module] = Hold(module, module.training)
        holds[module] = hold
    try:
        switch(dict.fromkeys(fresh, False), called=[])
        for module, hold in fresh.items():
            object.__setattr__(module, "train", hold)
            freeze_parameters(module, hold)
    except BaseException:
        _release(fresh)
        raise
    return holds


def _release_unneeded(holds: dict[nn.Module, Hold]) -> None:
    _release({module: hold for module, hold in holds.items() if not (hold.permanent or hold.blocks)})


def _release(holds: dict[nn.Module, Hold]) -> None:
    try:
        _put_back(holds)
    except BaseException:  # Ctrl-C in the middle, or a `train` override that fails: finish all the same
        _put_back(holds)
        raise


def _put_back(holds: dict[nn.Module, Hold]) -> None:
    for module, hold in holds.items():
        if module.__dict__.get("train") is hold:
            if hold.replaced is None:
                del module.__dict__["train"]
            else:
                object.__setattr__(module, "train", hold.replaced)
        thaw_parameters(module, hold)
    try:
        for module, hold in holds.items():
            if overrides_train(module) and flag_of(module) != hold.training:
                call_train(module, hold.training)
    finally:
        for module, hold in holds.items():
            if flag_of(module) != hold.training:
                set_flag(module, hold.training)
