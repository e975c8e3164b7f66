"""The `train` method of a frozen module, which keeps it in eval mode, in copies and pickles too, and the
`requires_grad` of its parameters, also of tied ones.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from .._torch.modules.module_tables import own_parameters


class FrozenTrain:
    """Replaces `module.train` while the module is frozen, and stores the state to restore.

    It is an instance attribute: `copy.deepcopy` and `pickle` include it, and the class and the state dict
    stay unchanged. Each module of a frozen part has its own, so that `for module in model.modules():
    module.train()` has no effect either. A module added later is not frozen: it follows its parent.
    """

    # These lead to modules outside of the frozen part, so the walk over a model does not follow them.
    _foreign_attributes_ = ("module", "blocks")

    def __init__(self, module: nn.Module, training: bool) -> None:
        self.module = module
        self.training = training  # the flag the module would have now if it were not frozen
        self.replaced: Any = module.__dict__.get("train")  # an instance-level override by other code
        self.requires_grad: dict[str, bool] = {}  # of its own parameters, before it was frozen
        self.blocks: set[object] = set()  # open `with frozen(...)` blocks
        self.permanent = False

    def __call__(self, mode: bool = True) -> nn.Module:
        """Do the same as `nn.Module.train`, except that the module itself stays in eval mode."""
        if not isinstance(mode, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError("training mode is expected to be boolean")  # as nn.Module.train does
        if self.module.training:
            self.module.training = False
        for child in self.module.children():
            child.train(mode)
        return self.module

    def __getstate__(self) -> dict[str, Any]:
        # No open block will unfreeze a copy, so the copy is frozen until `unfreeze`.
        return {**self.__dict__, "blocks": set[object](), "permanent": True}


def frozen_state(module: nn.Module) -> FrozenTrain | None:
    """Return the `FrozenTrain` of a module, or None if it is not frozen."""
    override = module.__dict__.get("train")
    return override if isinstance(override, FrozenTrain) else None


@dataclass
class _Original:
    requires_grad: bool
    frozen_by: set[int] = field(default_factory=set[int])  # ids: the objects would keep the key alive


# Tied weights belong to several modules; they are restored when the last of these thaws.
_originals = cast("MutableMapping[nn.Parameter, _Original]", WeakIdKeyDictionary())


def freeze_parameters(module: nn.Module, stub: FrozenTrain) -> None:
    """Turn `requires_grad` off for the module's own parameters and save the old values in `stub`."""
    for name, parameter in own_parameters(module).items():
        if parameter is None:
            continue
        original = _originals.get(parameter)
        if original is None:
            original = _originals[parameter] = _Original(parameter.requires_grad)
        stub.requires_grad[name] = original.requires_grad
        original.frozen_by.add(id(stub))
        if parameter.requires_grad:
            parameter.requires_grad_(False)


def thaw_parameters(module: nn.Module, stub: FrozenTrain) -> None:
    """Restore `requires_grad` of the module's own parameters, unless another frozen module shares them."""
    for name, parameter in own_parameters(module).items():
        if parameter is None or name not in stub.requires_grad:  # or added while the module was frozen
            continue
        original = _originals.get(parameter)  # None for the parameter of a copy
        if original is not None:
            original.frozen_by.discard(id(stub))
        if original is None or not original.frozen_by:
            if parameter.requires_grad != stub.requires_grad[name]:
                parameter.requires_grad_(stub.requires_grad[name])
            if original is not None:
                del _originals[parameter]
        del stub.requires_grad[name]
