"""A method that closes over a variable, calls zero-argument super() and mangles a private name."""

from jaxtyping import Float
from torch import Tensor

import tinynets as tn


def make(scale: float) -> type[tn.Module]:
    class Base(tn.Module):
        def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            return x

    class Net(Base):
        def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            self.__last = super().forward(x)
            return scale * self.__last

    return Net


Target = make(2.0)
