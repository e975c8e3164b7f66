"""What the transform tests transform: two models, a few functions, and inputs that fit or do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

import tinynets as tn


class Block(tn.Module):
    """A residual convolution: every line annotated, one axis module-wide."""

    channels: int

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, pixels: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        normal: Float[Tensor, "batch channels height width"] = self.norm(pixels)
        mixed: Float[Tensor, "batch channels height width"] = F.relu(self.conv(normal))
        return pixels + mixed


class Head(tn.Module):
    """Mean over positions and a linear layer."""

    features: int
    num_classes: int

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.features, self.num_classes = features, num_classes
        self.fc = nn.Linear(features, num_classes)

    def forward(self, tokens: Float[Tensor, "batch tokens features"]) -> Float[Tensor, "batch num_classes"]:
        mean: Float[Tensor, "batch features"] = reduce(tokens, "b t f -> b f", "mean")
        return self.fc(mean)


class PatchNet(tn.Module):
    """Convolutions, patches cut by einops, a head: nested modules and computed axes."""

    channels: int
    num_classes: int

    def __init__(self, channels: int = 4, num_classes: int = 5) -> None:
        super().__init__()
        self.channels, self.num_classes = channels, num_classes
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList([Block(channels)])
        self.head = Head(4 * channels, num_classes)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch num_classes"]:
        pixels: Float[Tensor, "batch channels height width"] = self.stem(images)
        for block in self.blocks:
            pixels = block(pixels)
        patches: Float[Tensor, "batch (height//2)*(width//2) 4*channels"] = rearrange(
            pixels, "b c (h p) (w q) -> b (h w) (c p q)", p=2, q=2
        )
        logits: Float[Tensor, "batch num_classes"] = self.head(patches)
        return logits


class ConvNet(tn.Module):
    """Nested modules without einops, which refuses the proxies of `torch.fx`."""

    channels: int
    num_classes: int

    def __init__(self, channels: int = 4, num_classes: int = 5) -> None:
        super().__init__()
        self.channels, self.num_classes = channels, num_classes
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.block = Block(channels)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch num_classes"]:
        pixels: Float[Tensor, "batch channels height width"] = self.block(self.stem(images))
        mean: Float[Tensor, "batch channels"] = pixels.mean((2, 3))
        return self.fc(mean)


@dataclass(frozen=True)
class Case:
    """A model and inputs for it."""

    make: Callable[..., tn.Module]
    shape: tuple[int, ...]  # of one image
    other: dict[str, int]  # sizes of a second instance
    names: tuple[str, str]  # of the class, and of its argument

    def valid(self, batch: int = 4, **options: Any) -> Tensor:
        return torch.randn(batch, *self.shape, **options)

    def invalid(self, batch: int = 4, **options: Any) -> Tensor:
        """Channels last: as many numbers, but none of them where the model looks for it."""
        channels, *size = self.shape
        return torch.randn(batch, *size, channels, **options)

    @property
    def refusal(self) -> str:
        return rf"{self.names[0]}\({self.names[1]}\): axis 1 is \d+, expected {self.shape[0]}"


CASES = {
    "mlp": Case(tn.TinyVisionMLP, (1, 28, 28), {"hidden": 32, "num_classes": 7}, ("TinyVisionMLP", "images")),
    "nested": Case(PatchNet, (3, 8, 8), {"channels": 6, "num_classes": 3}, ("PatchNet", "images")),
}


# Functions


@tn.contract
def halves(
    x: Float[Tensor, "batch width"],
) -> tuple[Float[Tensor, "batch width//2"], Float[Tensor, "batch width//2"]]:
    left, right = x.chunk(2, dim=1)
    return left * 2, right + 1


@tn.contract
def total(items: list[Float[Tensor, "batch width"]]) -> Float[Tensor, "batch width"]:
    result: Float[Tensor, "batch width"] = torch.stack(items).sum(0)
    return result


@tn.contract
def shifted(
    x: Float[Tensor, "batch width"], bias: Float[Tensor, "width"] | None = None
) -> Float[Tensor, "batch width"]:
    return x + 1 if bias is None else x + bias


@tn.contract
def scaled(parts: dict[str, Float[Tensor, "batch width"]]) -> dict[str, Float[Tensor, "batch width"]]:
    return {name: part * 2 for name, part in parts.items()}


@tn.contract
def attention(
    query: Float[Tensor, "*batch targets width"], key: Float[Tensor, "*batch sources width"]
) -> Float[Tensor, "*batch targets sources"]:
    scores: Float[Tensor, "*batch targets sources"] = query @ key.mT
    return scores.softmax(-1)


class Shards(torch.utils.data.Dataset[Tensor]):
    """A data set whose contract the item of index 2 breaks."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        return shifted(torch.zeros(2, 3), torch.zeros(5 if index == 2 else 3))
