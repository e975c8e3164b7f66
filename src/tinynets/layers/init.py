"""Initial weights, drawn from the caller's generator (torch's default, He, LeCun, normal, zero); each `init_`
function sets a single module.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import init

from .._torch.state.devices import to_empty_

# `init_module` is called with every module; containers and blocks have no weights of their own.
_CONVOLUTION_OR_LINEAR = (nn.Conv2d, nn.Linear)


def init_norm(module: nn.Module) -> None:
    """Set a normalisation layer to the identity: scale 1, shift 0, running statistics reset."""
    if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
        module.reset_parameters()


def init_default(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw torch's own default for a convolution or linear layer; `reset_parameters` takes no generator."""
    if isinstance(module, _CONVOLUTION_OR_LINEAR):
        init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
        if module.bias is not None:
            bound = 1 / math.sqrt(module.weight[0].numel())
            init.uniform_(module.bias, -bound, bound, generator=generator)


def init_he(
    module: nn.Module,
    generator: torch.Generator | None = None,
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_out",
) -> None:
    """Draw He normal weights (arXiv 1502.01852) for a convolution or linear layer; biases are 0."""
    if isinstance(module, _CONVOLUTION_OR_LINEAR):
        init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu", generator=generator)
        _zero_bias(module)


def init_he_but_linear(
    module: nn.Module,
    generator: torch.Generator | None = None,
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_out",
) -> None:
    """Draw He normal weights for a convolution, and torch's default for a linear layer."""
    if isinstance(module, nn.Linear):
        init_default(module, generator)
    else:
        init_he(module, generator, mode=mode)


def init_lecun(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw flax's default for a convolution or linear layer: truncated normal, variance 1/fan_in."""
    if isinstance(module, _CONVOLUTION_OR_LINEAR):
        # A unit normal truncated at 2 has a standard deviation of .8796; flax divides by it. Inverting the
        # distribution is hundreds of times faster than torch's trunc_normal_, which redraws until all values
        # fit.
        std = math.sqrt(1 / module.weight[0].numel()) / 0.87962566103423978
        inside = math.erf(math.sqrt(2))
        init.uniform_(module.weight, -inside, inside, generator=generator)
        with torch.no_grad():
            module.weight.erfinv_().mul_(math.sqrt(2) * std)
        _zero_bias(module)


def init_normal(module: nn.Module, generator: torch.Generator | None = None, *, std: float) -> None:
    """Draw normal weights of a given standard deviation for a convolution or linear layer; biases are 0."""
    if isinstance(module, _CONVOLUTION_OR_LINEAR):
        init.normal_(module.weight, std=std, generator=generator)
        _zero_bias(module)


def init_zero(module: nn.Module) -> None:
    """Set a convolution or linear layer to 0, the initial head of Mixer and ViT."""
    if isinstance(module, _CONVOLUTION_OR_LINEAR):
        init.zeros_(module.weight)
        _zero_bias(module)


def linear(in_features: int, out_features: int, *, generator: torch.Generator | None = None) -> nn.Linear:
    """Build `nn.Linear` with torch's default initial weights, drawn from `generator`.

    With `generator=None` the global random state is used, and the layer equals the one that
    `nn.Linear(in_features, out_features)` builds after the same `torch.manual_seed`. With a generator, the
    global state does not change.
    """
    # On the meta device, torch's own initialisation leaves the global random state alone.
    layer = nn.Linear(in_features, out_features, device="meta")
    to_empty_(layer)
    init_default(layer, generator)
    return layer


def _zero_bias(module: nn.Conv2d | nn.Linear) -> None:
    if module.bias is not None:
        init.zeros_(module.bias)
