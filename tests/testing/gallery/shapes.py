"""Models whose annotated lines are right for some sizes."""

from jaxtyping import Float
from torch import Tensor, nn

import tinynets as tn

from .bug import Bug


class RoundsDownInWriting(tn.Module):
    """Right for 32, and wrong for every odd height: the convolution rounds up."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 4"]:
        maps: Float[Tensor, "batch 4 height//2 (width+1)//2"] = self.conv(images)
        return maps.mean((2, 3))


class RoundsUp(RoundsDownInWriting):
    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 4"]:
        maps: Float[Tensor, "batch 4 (height+1)//2 (width+1)//2"] = self.conv(images)
        return maps.mean((2, 3))


class LosesTheLastSample(tn.Module):
    def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch"]:
        means: Float[Tensor, "batch"] = x.mean(1, keepdim=True).squeeze()
        return means


class KeepsTheLastSample(tn.Module):
    def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch"]:
        means: Float[Tensor, "batch"] = x.mean(1, keepdim=True).squeeze(1)
        return means


BUGS = [
    Bug("shapes.all_sizes", RoundsDownInWriting, RoundsUp, ("batch 3 32 32",), "wrong for height = 33"),
    Bug("shapes.all_sizes", LosesTheLastSample, KeepsTheLastSample, (), "wrong for batch = 1"),
]
