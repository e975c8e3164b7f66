"""A declaration holds for the targets of later statements, in blocks too, until its paths disagree."""

import contextlib

from jaxtyping import Float
from torch import Tensor

import tinynets as tn


@tn.contract
def target(items: list[Tensor], flat: bool) -> Tensor:
    y: Float[Tensor, "n"]
    z: Float[Tensor, "n"] = items[0]
    for y, *_ in items:
        z += y
    with contextlib.nullcontext(z) as y:
        pass
    if flat:
        z: Float[Tensor, "1"] = y[:1]
    z = items[1]
    return z
