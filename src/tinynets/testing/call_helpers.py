"""What several checks do with a model, and how they list what they found."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from .._torch.unregistered import unregistered_modules
from ..inputs.draw import Arguments
from ..modes.sensitivity import train_behaviour
from .locate.divergence import named_module
from .measure.compare import Leaf, detached
from .subject import Subject


def again(subject: Subject, arguments: Arguments) -> list[Leaf]:
    """Call the model without gradients, in the mode and with the generators as they stand."""
    with torch.no_grad():
        return detached(subject.call(arguments))


def still_training(model: nn.Module) -> str:
    """Name the modules in training mode; of those that are not registered, the ones that it matters for."""
    left = [
        f"{named_module(path, module)} is in training mode"
        for path, module in cast("Any", model).named_modules()
        if module.training
    ]
    hidden = [
        f"{named_module(path, below)} is not registered, so eval() does not reach it"
        for path, module in unregistered_modules(model).items()
        for below in module.modules()
        if below.training and train_behaviour(below)
    ]
    return listed(left + hidden)


def listed(items: list[str], limit: int = 5) -> str:
    """Join what was found, the first few in full."""
    more = f"; and {len(items) - limit} more" if len(items) > limit else ""
    return "; ".join(items[:limit]) + more
