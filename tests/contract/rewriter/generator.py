"""What a generator yields and returns, tuples among it."""

from collections.abc import Generator

from jaxtyping import Float
from torch import Tensor

import tinynets as tn


@tn.contract
def target(
    x: Float[Tensor, "batch n"],
) -> Generator[tuple[Float[Tensor, "n"], int], None, Float[Tensor, "batch"]]:
    for index, row in enumerate(x):
        sent = yield row, index
    return x.sum(1)
