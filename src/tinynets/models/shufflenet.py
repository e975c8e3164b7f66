"""ShuffleNetV2: half of the channels go through three convolutions, then all are shuffled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights


class ShuffleUnit(Module):
    """`1x1, depthwise 3x3, 1x1` on the second half of the channels; the first is unchanged (figure 3c).

    Args:
        channels: channels of input and output, an even number.
    """

    channels: int
    branch: int

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.branch = half = channels // 2  # channels of one branch
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Change half of the channels, and interleave the halves."""
        kept: Float[Tensor, "batch branch height width"] = inputs[:, : self.branch]
        moved: Float[Tensor, "batch branch height width"] = inputs[:, self.branch :]
        mixed: Float[Tensor, "batch branch height width"] = F.relu(self.bn1(self.conv1(moved)), inplace=True)
        filtered: Float[Tensor, "batch branch height width"] = self.bn2(self.conv2(mixed))
        changed: Float[Tensor, "batch branch height width"] = F.relu(
            self.bn3(self.conv3(filtered)), inplace=True
        )
        # Stacked: the usual view and transpose branch on more conditions than a proof follows.
        pairs: Float[Tensor, "batch branch 2 height width"] = torch.stack((kept, changed), dim=2)
        return pairs.flatten(1, 2)


class ShuffleDown(Module):
    """Halve the size in two branches that both see all channels, each for half of the output (figure 3d).

    Args:
        in_channels: channels of the input.
        channels: channels of the output, an even number.
    """

    in_channels: int
    channels: int
    branch: int

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.branch = half = channels // 2  # channels of one branch
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, 2, padding=1, groups=in_channels, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv2 = nn.Conv2d(in_channels, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(in_channels, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = nn.Conv2d(half, half, 3, 2, padding=1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(
        self, inputs: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels (height-1)//2+1 (width-1)//2+1"]:
        """Compute both halves of the output, and interleave them."""
        sampled: Float[Tensor, "batch in_channels (height-1)//2+1 (width-1)//2+1"] = self.bn1(
            self.conv1(inputs)
        )
        left: Float[Tensor, "batch branch (height-1)//2+1 (width-1)//2+1"] = F.relu(
            self.bn2(self.conv2(sampled)), inplace=True
        )
        mixed: Float[Tensor, "batch branch height width"] = F.relu(self.bn3(self.conv3(inputs)), inplace=True)
        filtered: Float[Tensor, "batch branch (height-1)//2+1 (width-1)//2+1"] = self.bn4(self.conv4(mixed))
        right: Float[Tensor, "batch branch (height-1)//2+1 (width-1)//2+1"] = F.relu(
            self.bn5(self.conv5(filtered)), inplace=True
        )
        pairs: Float[Tensor, "batch branch 2 (height-1)//2+1 (width-1)//2+1"] = torch.stack(
            (left, right), dim=2
        )
        return pairs.flatten(1, 2)


class ShuffleNetV2Cifar(ImageClassifier):
    """ShuffleNetV2 at width 1 for small images; 1,263,854 parameters.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; three stages of
    116, 232 and 464 channels at strides 2, 4 and 8.

    "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", arXiv 1807.11164, in the
    form of pytorch-cifar.

    Parity partner: reference in the test. Differs from the paper: stride 1 in the stem, no max pooling.

    Args:
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = (Stage("layer1", 116, 2), Stage("layer2", 232, 4), Stage("layer3", 464, 8))

    def __init__(
        self, *, in_channels: int = 3, num_classes: int = 10, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        self.num_classes = num_classes
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(in_channels, 24, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(24)
            self.layer1 = _stage(24, 116, 4)
            self.layer2 = _stage(116, 232, 8)
            self.layer3 = _stage(232, 464, 4)
            self.conv2 = nn.Conv2d(464, 1024, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(1024)
            self.head = nn.Linear(1024, num_classes)
        self._allocate(generator)

    @classmethod
    def from_kuangliu(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of pytorch-cifar's `ShuffleNetV2(net_size=1)`.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(state_dict, {r"^linear\.": "head."})
        return weights.build(cls, in_channels=weights.shape("conv1.weight", 4)[1])

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 1024 (height-1)//8+1 (width-1)//8+1"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 1024 (height-1)//8+1 (width-1)//8+1"]:
        """Map images to the output of the last convolution."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch 24 height width"] = F.relu(self.bn1(self.conv1(images)), inplace=True)
        first: Float[Tensor, "batch 116 (height-1)//2+1 (width-1)//2+1"] = self.layer1(stem)
        second: Float[Tensor, "batch 232 (height-1)//4+1 (width-1)//4+1"] = self.layer2(first)
        third: Float[Tensor, "batch 464 (height-1)//8+1 (width-1)//8+1"] = self.layer3(second)
        last: Float[Tensor, "batch 1024 (height-1)//8+1 (width-1)//8+1"] = F.relu(
            self.bn2(self.conv2(third)), inplace=True
        )
        return last


def _stage(in_channels: int, channels: int, num_blocks: int) -> nn.Sequential:
    """Stack blocks; the first one changes size and channels."""
    rest = (ShuffleUnit(channels) for _ in range(num_blocks - 1))
    return nn.Sequential(ShuffleDown(in_channels, channels), *rest)
