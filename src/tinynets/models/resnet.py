"""Residual networks for small images: the thin ones of the paper's CIFAR section, and ResNet-18."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_choice, check_image_size, init_he_but_linear
from ..layers.residual import BasicBlock, stage
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights

# Names in torchvision, and in the repositories that started from it, on the left; ours on the right.
TORCHVISION_KEYS = {r"\.downsample\.": ".shortcut.", r"^(fc|linear)\.": "head."}


class CifarResNet(ImageClassifier):
    """ResNet-20/32/44/56/110 for small images; 269,722 parameters at depth 20 with shortcut A.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; three stages of
    16, 32 and 64 channels at strides 1, 2 and 4.

    "Deep Residual Learning for Image Recognition", arXiv 1512.03385, section 4.2. Shortcut A is the paper's
    choice there; most code that is called ResNet-20 has B, with 2,752 more parameters.

    Parity partner: reference in the test. Differs from the paper: none (with shortcut A).

    Args:
        depth: number of weighted layers, `6 n + 2`.
        shortcut: how to add an input whose shape changes: "A" pads with zeros, "B" projects.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = (Stage("layer1", 16, 1), Stage("layer2", 32, 2), Stage("layer3", 64, 4))

    def __init__(
        self,
        *,
        depth: int = 20,
        shortcut: Literal["A", "B"] = "A",
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(depth=depth, in_channels=in_channels, num_classes=num_classes)
        check_choice("shortcut", shortcut, ("A", "B"))
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth must be 6n+2 with n >= 1, such as 20, 32, 44, 56 or 110, got {depth}")
        self.depth = depth
        self.shortcut = shortcut
        self.in_channels = in_channels
        self.num_classes = num_classes
        num_blocks = (depth - 2) // 6
        block = partial(BasicBlock, shortcut=shortcut)
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            self.layer1 = stage(block, 16, 16, num_blocks, stride=1)
            self.layer2 = stage(block, 16, 32, num_blocks, stride=2)
            self.layer3 = stage(block, 32, 64, num_blocks, stride=2)
            self.head = nn.Linear(64, num_classes)
        self._allocate(generator)

    @classmethod
    def from_chenyaofo(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from `cifar10_resnet20` and the like of pytorch-cifar-models.

        Depth, shortcut, channels and classes are read from the weights. torchvision's `BasicBlock` has the
        same layout.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(state_dict, TORCHVISION_KEYS)
        return weights.build(
            cls,
            depth=6 * weights.count("layer1") + 2,
            shortcut="B" if any(".shortcut." in name for name in weights) else "A",
            in_channels=weights.shape("conv1.weight", 4)[1],
        )

    @classmethod
    def from_akamaster(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from `resnet20` and the like of pytorch_resnet_cifar10, trained with shortcut A.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        return cls.from_chenyaofo(state_dict)  # same layout but for the head's name, which it also reads

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 64 (height-1)//4+1 (width-1)//4+1"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 64 (height-1)//4+1 (width-1)//4+1"]:
        """Map images to the output of the last stage."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch 16 height width"] = F.relu(self.bn1(self.conv1(images)), inplace=True)
        first: Float[Tensor, "batch 16 height width"] = self.layer1(stem)
        second: Float[Tensor, "batch 32 (height-1)//2+1 (width-1)//2+1"] = self.layer2(first)
        third: Float[Tensor, "batch 64 (height-1)//4+1 (width-1)//4+1"] = self.layer3(second)
        return third

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw He normal convolutions; the head gets torch's default."""
        init_he_but_linear(module, generator)


class ResNet18Cifar(ImageClassifier):
    """ResNet-18 whose stem keeps the size of small images; 11,173,962 parameters.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; four stages of
    64, 128, 256 and 512 channels at strides 1, 2, 4 and 8.

    "Deep Residual Learning for Image Recognition", arXiv 1512.03385, table 1, except for the stem: a 3x3
    convolution of stride 1 and no max pooling. A net that keeps the max pooling has the same number of
    parameters but other outputs.

    Parity partner: torchvision, timm. Differs from the paper: 3x3 stem, no max pooling.

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
            self.bn1 = nn.BatchNorm2d(64)
            self.layer1 = stage(BasicBlock, 64, 64, 2, stride=1)
            self.layer2 = stage(BasicBlock, 64, 128, 2, stride=2)
            self.layer3 = stage(BasicBlock, 128, 256, 2, stride=2)
            self.layer4 = stage(BasicBlock, 256, 512, 2, stride=2)
            self.head = nn.Linear(512, num_classes)
        self._allocate(generator)

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of torchvision's or timm's `resnet18` whose first convolution is 3x3.

        Weights do not show whether their net has the max pooling; this one does not.

        Raises:
            CheckpointError: names or shapes do not fit, such as the 7x7 stem for large images.
        """
        weights = ForeignWeights(state_dict, TORCHVISION_KEYS)
        return weights.build(cls, in_channels=weights.shape("conv1.weight", 4)[1])

    @classmethod
    def from_kuangliu(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from `ResNet18` of pytorch-cifar (kuangliu).

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        return cls.from_torchvision(state_dict)  # same layout but for two names, which it also reads

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
        stem: Float[Tensor, "batch 64 height width"] = F.relu(self.bn1(self.conv1(images)), inplace=True)
        first: Float[Tensor, "batch 64 height width"] = self.layer1(stem)
        second: Float[Tensor, "batch 128 (height-1)//2+1 (width-1)//2+1"] = self.layer2(first)
        third: Float[Tensor, "batch 256 (height-1)//4+1 (width-1)//4+1"] = self.layer3(second)
        fourth: Float[Tensor, "batch 512 (height-1)//8+1 (width-1)//8+1"] = self.layer4(third)
        return fourth

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw He normal convolutions; the head gets torch's default."""
        init_he_but_linear(module, generator)
