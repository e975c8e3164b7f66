"""PreActResNet-18: normalisation and activation before each convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size, init_he_but_linear
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights
from .wide_resnet import WideBlock

KUANGLIU_KEYS = {r"\.shortcut\.0\.": ".shortcut.", r"^linear\.": "head."}


class PreActResNet18(ImageClassifier):
    """ResNet-18 with activations before convolutions, for small images; 11,171,146 parameters.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; four stages of
    64, 128, 256 and 512 channels at strides 1, 2, 4 and 8.

    "Identity Mappings in Deep Residual Networks", arXiv 1603.05027, in the form of pytorch-cifar, which most
    code copies: it ends without the paper's last BatchNorm and ReLU.

    Parity partner: reference in the test. Differs from the paper: no BatchNorm and ReLU after the last stage.

    Args:
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = (
        Stage("layer1", 64, 1),
        Stage("layer2", 128, 2),
        Stage("layer3", 256, 4),
        Stage("layer4", 512, 8),
    )

    def __init__(
        self, *, in_channels: int = 3, num_classes: int = 10, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        self.num_classes = num_classes
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            self.layer1 = nn.Sequential(WideBlock(64, 64), WideBlock(64, 64))
            self.layer2 = nn.Sequential(WideBlock(64, 128, stride=2), WideBlock(128, 128))
            self.layer3 = nn.Sequential(WideBlock(128, 256, stride=2), WideBlock(256, 256))
            self.layer4 = nn.Sequential(WideBlock(256, 512, stride=2), WideBlock(512, 512))
            self.head = nn.Linear(512, num_classes)
        self._allocate(generator)

    @classmethod
    def from_kuangliu(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from `PreActResNet18` of pytorch-cifar (kuangliu).

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(state_dict, KUANGLIU_KEYS)
        return weights.build(cls, in_channels=weights.shape("conv1.weight", 4)[1])

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 512 (height-1)//8+1 (width-1)//8+1"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 512 (height-1)//8+1 (width-1)//8+1"]:
        """Map images to the output of the last stage."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch 64 height width"] = self.conv1(images)
        first: Float[Tensor, "batch 64 height width"] = self.layer1(stem)
        second: Float[Tensor, "batch 128 (height-1)//2+1 (width-1)//2+1"] = self.layer2(first)
        third: Float[Tensor, "batch 256 (height-1)//4+1 (width-1)//4+1"] = self.layer3(second)
        fourth: Float[Tensor, "batch 512 (height-1)//8+1 (width-1)//8+1"] = self.layer4(third)
        return fourth

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw He normal convolutions; the head gets torch's default."""
        init_he_but_linear(module, generator)
