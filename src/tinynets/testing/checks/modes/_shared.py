"""The seed that the checks use, and how they name modules."""

from __future__ import annotations

from torch import nn

from ...._torch.modules.module_tables import named_modules

SEED = 40_499  # no model seeds with it, so that seeding in forward shows


def named_or_type(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules with their paths; the path of the model itself is the name of its class."""
    return [(path or type(model).__name__, module) for path, module in named_modules(model)]
