"""What the tests of this folder export."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

import tinynets as tn
from tinynets._export.loaded_program import Exported

from ..zoo_names import shallow


def trained(name: str) -> tn.models.ImageClassifier:
    """A model of a class of the zoo, with few blocks, that gives each image other logits: some start with a head of zeros."""
    generator = torch.Generator().manual_seed(7)
    model = shallow(name)()
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator) / 8)
                module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return model


def images_for(model: nn.Module, batch: int) -> Tensor:
    channels = getattr(model, "in_channels", 1 if isinstance(model, tn.TinyVisionMLP) else 3)
    size = getattr(model, "image_size", 28 if isinstance(model, tn.TinyVisionMLP) else 32)
    return torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(batch))


def agree(program: Exported, model: nn.Module, *batches: Tensor) -> None:
    """Compare logits, which must differ from image to image for that to mean something."""
    for batch in batches:
        with tn.inference(model):
            expected = model(batch)
        assert expected.std() > 1e-3
        torch.testing.assert_close(program(batch), expected, rtol=1e-5, atol=1e-5)


class Tagger(tn.Module):
    """Two arguments, one of them optional, and two outputs."""

    num_classes: int
    width: int

    def __init__(self, *, num_classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.num_classes, self.width = num_classes, width
        self.embed = nn.Embedding(50, width)
        self.head = nn.Linear(width, num_classes)
        self.drop = nn.Dropout(0.5)

    def forward(
        self, ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"] | None = None
    ) -> tuple[Float[Tensor, "batch num_classes"], Float[Tensor, "batch 2*tokens"]]:
        embedded: Float[Tensor, "batch tokens {self.width}"] = self.drop(self.embed(ids))
        if mask is not None:
            embedded = embedded * mask[..., None]
        sums = embedded.sum(2)
        return self.head(embedded.mean(1)), torch.cat([sums, -sums], 1)


class AnySize(tn.Module):
    """Takes images of every size, with the least that has to be compiled for it: a stride, a norm and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 10)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 10"]:
        maps: Float[Tensor, "batch 8 (height-1)//2+1 (width-1)//2+1"] = self.norm(self.conv(images)).relu()
        return self.head(maps.mean((2, 3)))


class Symmetric(tn.Module):
    """Fits square matrices only, which its contract does not say."""

    def forward(self, x: Float[Tensor, "batch rows columns"]) -> Float[Tensor, "batch rows columns"]:
        return x + x.mT


class Pair(NamedTuple):
    first: Float[Tensor, "batch 3"]
    second: Float[Tensor, "batch 3"]


class Paired(tn.Module):
    """Returns a class that only this file knows."""

    def forward(self, x: Float[Tensor, "batch 3"]) -> Pair:
        return Pair(x, x)
