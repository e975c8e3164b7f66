"""Axes that are computed, from other axes and from arguments in braces that the body reassigns."""

from jaxtyping import Float, Int
from torch import Tensor

import tinynets as tn


@tn.contract
def target(
    x: Float[Tensor, "*batch rows cols"], stride: int, index: Int[Tensor, "#rows"]
) -> Float[Tensor, "*batch rows//{stride} 2*cols"]:
    step = stride
    stride = 0
    kept: Float[Tensor, "*batch rows//{stride} cols"] = x[..., ::step, :]
    return kept.repeat(*[1] * (x.ndim - 1), 2)
