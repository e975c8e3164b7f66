"""What keeps a frozen module in eval mode: a stand-in for its `train` method."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from .._torch.modules.module_tables import own_parameters


class FrozenTrain:
    """Stands in for `module.train` while the module is frozen, and knows what to go back to.

    It is an instance attribute, so that it goes wherever the module goes: `copy.deepcopy` and `pickle` carry
    it along, the class and the state dict stay as they are. Each module of a frozen part has its own, so that
    `for module in model.modules(): module.train()` does not get past it either, and a module added later
    simply follows its parent.
    """

    # By these, one gets to modules outside of the frozen part; a list of what a model holds stops here.
    _foreign_attributes_ = ("module", "blocks")

    def __init__(self, module: nn.Module, training: bool) -> None:
        self.module = module
        self.training = training  # the flag the module would have now if it were not frozen
        self.replaced: Any = module.__dict__.get("train")  # somebody else's instance-level override
        self.requires_grad: dict[str, bool] = {}  # of its own parameters, before it was frozen
        self.blocks: set[object] = set()  # open `with frozen(...)` blocks
        self.permanent = False

    def __call__(self, mode: bool = True) -> nn.Module:
        """Do what `nn.Module.train` does, except that the module itself stays in eval mode."""
        if not isinstance(mode, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError("training mode is expected to be boolean")  # as nn.Module.train does
        if self.module.training:
            self.module.training = False
        for child in self.module.children():
            child.train(mode)
        return self.module

    def __getstate__(self) -> dict[str, Any]:
        # No block will ever end the freezing of a copy, so the copy is frozen until `unfreeze`.
        return {**self.__dict__, "blocks": set[object](), "permanent": True}


def frozen_state(module: nn.Module) -> FrozenTrain | None:
    """Return what the module is frozen by, or None if it is not frozen."""
    override = module.__dict__.get("train")
    return override if isinstance(override, FrozenTrain) else None


@dataclass
class _Original:
    requires_grad: bool
    frozen_by: set[int] = field(default_factory=set[int])  # ids: the objects would keep the key alive


# Tied weights belong to several modules; they go back to what they were when the last of these thaws.
_originals = cast("MutableMapping[nn.Parameter, _Original]", WeakIdKeyDictionary())


def freeze_parameters(module: nn.Module, stub: FrozenTrain) -> None:
    """Turn `requires_grad` off for the module's own parameters and note in `stub` what it was."""
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
    """Give the module's own parameters their `requires_grad` back, unless another frozen module ties them."""
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
