"""ResNet-9, the small wide net of the fast CIFAR-10 trainings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size, init_default
from ..module import Module
from .base import ImageClassifier, Stage

# The size after pooling.
Pooled = Float[Tensor, "batch channels height//2 width//2"]


class ConvPool(Module):
    """`3x3, BatchNorm, ReLU, max pooling`: half the size; with `residual`, two residual convolutions.

    The activation comes before the addition, unlike in a ResNet.
    """

    in_channels: int
    channels: int

    def __init__(self, in_channels: int, channels: int, *, residual: bool) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.residual = residual
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        if residual:
            self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, inputs: Float[Tensor, "batch in_channels height width"]) -> Pooled:
        """Convolve, halve the size, and add the output of two more convolutions."""
        pooled: Pooled = F.max_pool2d(F.relu(self.bn(self.conv(inputs)), inplace=True), 2)
        if not self.residual:
            return pooled
        first: Pooled = F.relu(self.bn1(self.conv1(pooled)), inplace=True)
        second: Pooled = F.relu(self.bn2(self.conv2(first)), inplace=True)
        return pooled + second


class ResNet9(ImageClassifier):
    """ResNet-9 for small images; 6,573,120 parameters.

    Images `[batch in_channels height width]`, at least 8x8, to logits `[batch num_classes]`; layers of 128,
    256 and 512 channels at strides 2, 4 and 8, of which the first and the last are residual.

    The net with which D. Page won DAWNBench ("How to train your ResNet", 2018), as in his cifar10-fast. The
    last pooling takes the maximum over all pixels, which for the 32x32 images of the source is its 4x4
    pooling; the head has no bias, and its logits are scaled by 1/8.

    Parity partner: reference in the test. Differs from the paper: global max pooling (the same at 32 px).

    Args:
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = (Stage("layer1", 128, 2), Stage("layer2", 256, 4), Stage("layer3", 512, 8))

    def __init__(
        self, *, in_channels: int = 3, num_classes: int = 10, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        self.num_classes = num_classes
        with torch.device("meta"):
            self.stem = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            self.stem_bn = nn.BatchNorm2d(64)
            self.layer1 = ConvPool(64, 128, residual=True)
            self.layer2 = ConvPool(128, 256, residual=False)
            self.layer3 = ConvPool(256, 512, residual=True)
            self.head = nn.Linear(512, num_classes, bias=False)
        self._allocate(generator)

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 512 height//8 width//8"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 512 height//8 width//8"]:
        """Map images to the output of the last layer."""
        check_image_size(self, images, 8, "halves its images three times")
        stem: Float[Tensor, "batch 64 height width"] = F.relu(self.stem_bn(self.stem(images)), inplace=True)
        first: Float[Tensor, "batch 128 height//2 width//2"] = self.layer1(stem)
        second: Float[Tensor, "batch 256 height//4 width//4"] = self.layer2(first)
        third: Float[Tensor, "batch 512 height//8 width//8"] = self.layer3(second)
        return third

    def forward_pool(self, features: Float[Tensor, "batch 512 height width"]) -> Float[Tensor, "batch 512"]:
        """Map features to one row per image: their maximum over the pixels, scaled."""
        return features.amax((2, 3)) / 8

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw torch's defaults, as the source does."""
        init_default(module, generator)
