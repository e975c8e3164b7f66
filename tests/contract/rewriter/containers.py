"""Containers are checked item by item; where several arms of a union hold tensors, only validation decides."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

import tinynets as tn


class Output(NamedTuple):
    """A class with a field that holds a tensor."""

    logits: Float[Tensor, "batch classes"]
    name: str


@tn.contract
def target(
    items: list[Float[Tensor, "batch _"]],
    mask: Float[Tensor, "batch"] | None = None,
    either: list[Float[Tensor, "batch"]] | tuple[Float[Tensor, "batch"], ...] = (),
) -> Output:
    return Output(items[0], "first")
