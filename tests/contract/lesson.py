"""Models whose mistakes the golden messages are about; line numbers here appear in tests/contract/goldens."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

import tinynets as tn


class WrongDeclaration(tn.Module):
    """The second line declares another size than the layer gives."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 256)

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 512"]:
        flat: Float[Tensor, "batch 784"] = rearrange(images, "b c h w -> b (c h w)")
        hidden: Float[Tensor, "batch 512"] = F.relu(self.fc1(flat))
        return hidden


class Classifier(tn.Module):
    """A head on its own, to be replaced by one of another size."""

    num_classes: int

    def __init__(self, *, num_classes: int = 10) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.head = nn.Linear(8, num_classes)

    def forward(self, features: Float[Tensor, "batch 8"]) -> Float[Tensor, "batch num_classes"]:
        logits: Float[Tensor, "batch num_classes"] = self.head(features)
        return logits


class RgbNet(tn.Module):
    """Takes RGB images."""

    def forward(self, images: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch"]:
        return images.mean((1, 2, 3))


class Block(tn.Module):
    """Works on tokens of a fixed width."""

    width: int

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.mix = nn.Linear(width, width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        return tokens + self.mix(tokens)


class Encoder(tn.Module):
    """A stack of blocks, the last of another width."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(8), Block(8), Block(16))

    def forward(self, tokens: Float[Tensor, "batch tokens 8"]) -> Float[Tensor, "batch tokens 8"]:
        return self.blocks(tokens)


@tn.contract
def attend(
    query: Float[Tensor, "*batch targets width"], key: Float[Tensor, "*batch width sources"]
) -> Float[Tensor, "*batch targets sources"]:
    return query @ key


@tn.contract
def embed(tokens: Int[Tensor, "batch length"], masks: list[Float[Tensor, "batch length"]]) -> None:
    pass


@tn.contract
def upscale(
    small: Float[Tensor, "height width"],
    factor: float,
    large: Float[Tensor, "2*height 2*width"] | None = None,
) -> Float[Tensor, ""]:
    return small.mean() * factor


class Fails(tn.Module):
    """Fails inside torch, not at a check."""

    width: int

    def __init__(self) -> None:
        super().__init__()
        self.width = 5
        self.weight = nn.Parameter(torch.ones(4, 5))

    def forward(self, rows: Float[Tensor, "batch features"]) -> Float[Tensor, "batch width"]:
        scaled: Float[Tensor, "batch features"] = rows * 2
        return scaled @ self.weight


class Outer(tn.Module):
    """Holds the failing module."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"head": Fails()})

    def forward(self, rows: Float[Tensor, "batch features"]) -> Tensor:
        return self.layers["head"](rows)


class NeverSet(tn.Module):
    width: int

    def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        return x
