"""Linear layers whose initial weights can be drawn from the caller's generator."""

from __future__ import annotations

import math

import torch
from torch import nn

from .._torch.modules.to_empty import to_empty_


def linear(in_features: int, out_features: int, *, generator: torch.Generator | None = None) -> nn.Linear:
    """Build `nn.Linear` with torch's default initial weights, drawn from `generator`.

    With `generator=None` the global random state is used, and the layer equals the one that
    `nn.Linear(in_features, out_features)` builds after the same `torch.manual_seed`. With a generator, the
    global state does not change.
    """
    # On the meta device, torch's own initialisation leaves the global random state alone.
    layer = nn.Linear(in_features, out_features, device="meta")
    to_empty_(layer)
    bound = 1 / math.sqrt(in_features)
    with torch.no_grad():
        # Same as nn.Linear.reset_parameters, which does not accept a generator.
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
