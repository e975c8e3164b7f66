"""Models that hold for every size, for some, or for all but one kind."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

import tinynets as tn


class HalvesRoundingUp(tn.Module):
    """Says `height//2` where the convolution rounds up: right for 32, and for every even height."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 8"]:
        maps: Float[Tensor, "batch 8 height//2 (width+1)//2"] = self.conv(images)
        return maps.mean((2, 3))


class HalvesAsSaid(HalvesRoundingUp):
    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 8"]:
        maps: Float[Tensor, "batch 8 (height+1)//2 (width-1)//2+1"] = self.conv(images)
        return maps.mean((2, 3))


class CutsPatches(tn.Module):
    """Takes multiples of 4 only: einops refuses others."""

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 48"]:
        patches: Float[Tensor, "batch (height//4)*(width//4) 48"] = rearrange(
            images, "b c (h p) (w q) -> b (h w) (c p q)", p=4, q=4
        )
        return patches.mean(1)


class AddsPositions(tn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(512, 16))

    def forward(self, x: Float[Tensor, "batch tokens 16"]) -> Float[Tensor, "batch tokens 16"]:
        placed: Float[Tensor, "batch tokens 16"] = x + self.table[: x.shape[1]]
        return placed


class CutsToItsTable(AddsPositions):
    def forward(self, x: Float[Tensor, "batch tokens 16"]) -> Float[Tensor, "batch tokens 16"]:
        placed: Float[Tensor, "batch tokens 16"] = x[:, :512] + self.table[: x.shape[1]]
        return placed


class PadsOdd(tn.Module):
    """Goes two ways, and holds on both."""

    def forward(self, x: Float[Tensor, "batch 3 height"]) -> Float[Tensor, "batch 3 (height+1)//2"]:
        if x.shape[2] % 2:
            x = F.pad(x, (0, 1))
        return x.unflatten(2, (-1, 2)).mean(3)


class WrongOnTheOtherSide(tn.Module):
    """Goes another way for what is longer than 100, where the line is wrong."""

    def forward(self, x: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
        y: Float[Tensor, "batch time"] = x * 2 if x.shape[1] <= 100 else x[:, 1:]
        return y


class LinearOverTime(tn.Module):
    """Says any time and takes 32."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(32, 4)

    def forward(self, x: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 4"]:
        return self.linear(x)


class Squeezes(tn.Module):
    """Is right from 2 on: for a batch of 1 it loses the axis."""

    def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch"]:
        y: Float[Tensor, "batch"] = x.mean(1, keepdim=True).squeeze()
        return y


class SwapsEqualSizes(tn.Module):
    """Is right where height and width are equal."""

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        y: Float[Tensor, "batch height width"] = x.mT
        return y


class NeedsSquares(tn.Module):
    """Refuses what is not square."""

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        if x.shape[1] != x.shape[2]:
            raise ValueError("squares only")
        return x.mT


class KeepsPositive(tn.Module):
    """Makes a size from values."""

    def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "kept 4"]:
        kept: Float[Tensor, "kept 4"] = x[x[:, 0] > 0]
        return kept


class BranchesOnValues(tn.Module):
    def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        return x if x.sum() > 0 else -x


class EnforcesNothing(nn.Module):
    """An annotated module of torch's own kind, inside another; the wrong line is for odd sizes."""

    def __init__(self):
        super().__init__()
        self.inner = InnerPool()

    def forward(self, x: Float[Tensor, "n 3 rows columns"]):
        return self.inner(x)


class InnerPool(nn.Module):
    def forward(self, x: Float[Tensor, "n c r s"]) -> Float[Tensor, "n c (r+1)//2 s//2"]:
        return F.max_pool2d(x, 2)


class Embeds(tn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 6)

    def forward(self, ids: Int[Tensor, "b tokens"]) -> Float[Tensor, "b tokens 6"]:
        found: Float[Tensor, "b tokens 6"] = self.embedding(ids)
        return found
