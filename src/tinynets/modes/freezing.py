"""`tn.frozen`, `tn.freeze` and `tn.unfreeze`: eval mode that `train()` does not end, no gradients for the
parameters, and what is restored afterwards.
"""

from __future__ import annotations

from torch import nn

from . import with_blocks
from .context_base import ModeContext, require_models
from .flags import apply_flags, call_train, flag_of, overrides_train, set_flag, walk
from .frozen_train import FrozenTrain, freeze_parameters, frozen_state, thaw_parameters


class _Pass:
    """One pass through the block; also its entry in `FrozenTrain.blocks` of each module."""

    def __init__(self, modules: dict[nn.Module, None]) -> None:
        self.modules = modules
        self.stubs: dict[nn.Module, FrozenTrain] = {}


class _Frozen(ModeContext[_Pass]):
    def _prepare(self) -> _Pass:
        return _Pass(walk(self._models))

    def _enter(self, token: _Pass) -> None:
        with with_blocks.lock:
            token.stubs = _freeze(token.modules)
            for stub in token.stubs.values():
                stub.blocks.add(token)

    def _leave(self, token: _Pass) -> None:
        with with_blocks.lock:
            for stub in token.stubs.values():
                stub.blocks.discard(token)
            _release_unneeded(token.stubs)


def frozen(*modules: nn.Module) -> _Frozen:
    """Keep modules in eval mode even if a parent's `train()` is called, without gradients; then undo it.

    Raises:
        TypeError: an argument is not a module.
        ModeError: a module is exported, or another thread holds it in train mode (on entry).

    Examples:
        >>> with tn.frozen(model.fc1):
        ...     model.train()(images).sum().backward()
        >>> model.fc1.weight.grad is None
        True
    """
    return _Frozen("frozen", modules)


def freeze(*modules: nn.Module) -> None:
    """Freeze modules like `frozen`, until `unfreeze`; copies and pickles of the modules are frozen too.

    Raises:
        TypeError: an argument is not a module.
        ModeError: a module is exported, or another thread holds it in train mode.

    Examples:
        >>> tn.freeze(model.fc1)
        >>> model.train().fc1.training
        False
    """
    require_models("freeze", modules)
    with with_blocks.lock:
        for stub in _freeze(walk(modules)).values():
            stub.permanent = True


def unfreeze(*modules: nn.Module) -> None:
    """Undo `freeze` and restore every flag and `requires_grad`; inside a `frozen` block, when that ends.

    Raises:
        TypeError: an argument is not a module.

    Examples:
        >>> tn.freeze(model.fc1)
        >>> tn.unfreeze(model.fc1)
        >>> model.fc1.weight.requires_grad
        True
    """
    require_models("unfreeze", modules)
    with with_blocks.lock:
        stubs = {module: stub for module in walk(modules) if (stub := frozen_state(module)) is not None}
        for stub in stubs.values():
            stub.permanent = False
        _release_unneeded(stubs)


def is_frozen(module: nn.Module) -> bool:
    """Return whether the module itself is frozen now."""
    return frozen_state(module) is not None


def _freeze(modules: dict[nn.Module, None]) -> dict[nn.Module, FrozenTrain]:
    """Freeze the modules that are not frozen yet; return the `FrozenTrain` of each module."""
    wanted = dict.fromkeys(modules, False)
    with_blocks.refuse_conflict(wanted)
    stubs: dict[nn.Module, FrozenTrain] = {}
    fresh: dict[nn.Module, FrozenTrain] = {}
    for module in modules:
        stub = frozen_state(module)
        if stub is None:
            stub = fresh[module] = FrozenTrain(module, module.training)
        stubs[module] = stub
    try:
        apply_flags(dict.fromkeys(fresh, False), called=[])
        for module, stub in fresh.items():
            object.__setattr__(module, "train", stub)
            freeze_parameters(module, stub)
    except BaseException:
        _release(fresh)
        raise
    return stubs


def _release_unneeded(stubs: dict[nn.Module, FrozenTrain]) -> None:
    _release({module: stub for module, stub in stubs.items() if not (stub.permanent or stub.blocks)})


def _release(stubs: dict[nn.Module, FrozenTrain]) -> None:
    try:
        _put_back(stubs)
    except BaseException:  # Ctrl-C in the middle, or a `train` override that fails: finish anyway
        _put_back(stubs)
        raise


def _put_back(stubs: dict[nn.Module, FrozenTrain]) -> None:
    for module, stub in stubs.items():
        if module.__dict__.get("train") is stub:
            if stub.replaced is None:
                del module.__dict__["train"]
            else:
                object.__setattr__(module, "train", stub.replaced)
        thaw_parameters(module, stub)
    try:
        for module, stub in stubs.items():
            if overrides_train(module) and flag_of(module) != stub.training:
                call_train(module, stub.training)
    finally:
        for module, stub in stubs.items():
            if flag_of(module) != stub.training:
                set_flag(module, stub.training)
