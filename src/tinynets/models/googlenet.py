"""GoogLeNet: each block filters its input at several scales, and concatenates the results."""

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
from .convert_weights import ForeignWeights, Renaming

# Input, 1x1, reduced and wide 3x3, reduced and wide 5x5, pooled: the channels of each block, in the paper's
# table 1, which calls them 3a to 5b.
STAGE3 = ((192, 64, 96, 128, 16, 32, 32), (256, 128, 128, 192, 32, 96, 64))
STAGE4 = (
    (480, 192, 96, 208, 16, 48, 64),
    (512, 160, 112, 224, 24, 64, 64),
    (512, 128, 128, 256, 24, 64, 64),
    (512, 112, 144, 288, 32, 64, 64),
    (528, 256, 160, 320, 32, 128, 128),
)
STAGE5 = ((832, 256, 160, 320, 32, 128, 128), (832, 384, 192, 384, 48, 128, 128))
# pytorch-cifar's names on the left; ours on the right. Its branches are chains; the last one pools first.
KUANGLIU_KEYS: Renaming = {
    r"^pre_layers\.0\.": "stem.conv.",
    r"^pre_layers\.1\.": "stem.norm.",
    r"^([a-e])([345])\.": lambda match: f"stage{match[2]}.{'abcde'.index(match[1])}.",
    r"\.b1\.0\.": ".direct.conv.",
    r"\.b1\.1\.": ".direct.norm.",
    r"\.b2\.0\.": ".narrow3.conv.",
    r"\.b2\.1\.": ".narrow3.norm.",
    r"\.b2\.3\.": ".wide3.conv.",
    r"\.b2\.4\.": ".wide3.norm.",
    r"\.b3\.0\.": ".narrow5.conv.",
    r"\.b3\.1\.": ".narrow5.norm.",
    r"\.b3\.3\.": ".wide5.conv.",
    r"\.b3\.4\.": ".wide5.norm.",
    r"\.b3\.6\.": ".wider5.conv.",
    r"\.b3\.7\.": ".wider5.norm.",
    r"\.b4\.1\.": ".pooled.conv.",
    r"\.b4\.2\.": ".pooled.norm.",
    r"^linear\.": "head.",
}


class ConvUnit(Module):
    """A convolution that keeps the size, BatchNorm and ReLU.

    The bias is from pytorch-cifar; BatchNorm subtracts it with the mean.
    """

    in_channels: int
    channels: int

    def __init__(self, in_channels: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.conv = nn.Conv2d(in_channels, channels, kernel_size, padding=kernel_size // 2)
        self.norm = nn.BatchNorm2d(channels)

    def forward(
        self, inputs: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Filter, normalise, activate."""
        return F.relu(self.norm(self.conv(inputs)), inplace=True)


class Inception(Module):
    """Four branches: 1x1; 1x1 and 3x3; 1x1 and a 5x5 made of two 3x3; max pooling and 1x1 (figure 2b).

    Args:
        in_channels: channels of the input.
        direct: channels of the first branch.
        narrow3: channels between the convolutions of the second.
        wide3: channels of the second.
        narrow5: channels before the 3x3 convolutions of the third.
        wide5: channels of the third.
        pooled: channels of the fourth.
    """

    in_channels: int
    direct_channels: int
    wide3_channels: int
    wide5_channels: int
    pooled_channels: int
    channels: int

    def __init__(
        self, in_channels: int, direct: int, narrow3: int, wide3: int, narrow5: int, wide5: int, pooled: int
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.direct_channels = direct
        self.wide3_channels = wide3
        self.wide5_channels = wide5
        self.pooled_channels = pooled
        self.channels = direct + wide3 + wide5 + pooled
        self.direct = ConvUnit(in_channels, direct, 1)
        self.narrow3 = ConvUnit(in_channels, narrow3, 1)
        self.wide3 = ConvUnit(narrow3, wide3, 3)
        self.narrow5 = ConvUnit(in_channels, narrow5, 1)
        self.wide5 = ConvUnit(narrow5, wide5, 3)
        self.wider5 = ConvUnit(wide5, wide5, 3)
        self.pooled = ConvUnit(in_channels, pooled, 1)

    def forward(
        self, inputs: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Concatenate the four branches."""
        direct: Float[Tensor, "batch direct_channels height width"] = self.direct(inputs)
        wide3: Float[Tensor, "batch wide3_channels height width"] = self.wide3(self.narrow3(inputs))
        wide5: Float[Tensor, "batch wide5_channels height width"] = self.wider5(
            self.wide5(self.narrow5(inputs))
        )
        pooled: Float[Tensor, "batch pooled_channels height width"] = self.pooled(
            F.max_pool2d(inputs, 3, 1, padding=1)
        )
        return torch.cat((direct, wide3, wide5, pooled), dim=1)


class GoogLeNetCifar(ImageClassifier):
    """GoogLeNet with BatchNorm for small images; 6,166,250 parameters.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; three stages of
    480, 832 and 1024 channels at strides 1, 2 and 4.

    "Going Deeper with Convolutions", arXiv 1409.4842, in the form of pytorch-cifar.

    Parity partner: reference in the test. Differs from the paper: 3x3 stem without stride, BatchNorm, a 5x5
    as two 3x3, no auxiliary heads, no dropout.

    Args:
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = (Stage("stage3", 480, 1), Stage("stage4", 832, 2), Stage("stage5", 1024, 4))

    def __init__(
        self, *, in_channels: int = 3, num_classes: int = 10, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        self.num_classes = num_classes
        with torch.device("meta"):
            self.stem = ConvUnit(in_channels, 192, 3)
            self.stage3 = nn.Sequential(*(Inception(*channels) for channels in STAGE3))
            self.stage4 = nn.Sequential(*(Inception(*channels) for channels in STAGE4))
            self.stage5 = nn.Sequential(*(Inception(*channels) for channels in STAGE5))
            self.head = nn.Linear(1024, num_classes)
        self._allocate(generator)

    @classmethod
    def from_kuangliu(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of pytorch-cifar's `GoogLeNet`.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(state_dict, KUANGLIU_KEYS)
        return weights.build(cls, in_channels=weights.shape("stem.conv.weight", 4)[1])

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 1024 (height-1)//4+1 (width-1)//4+1"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 1024 (height-1)//4+1 (width-1)//4+1"]:
        """Map images to the output of the last block."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch 192 height width"] = self.stem(images)
        third: Float[Tensor, "batch 480 height width"] = self.stage3(stem)
        fourth: Float[Tensor, "batch 832 (height-1)//2+1 (width-1)//2+1"] = self.stage4(
            F.max_pool2d(third, 3, 2, padding=1)
        )
        fifth: Float[Tensor, "batch 1024 (height-1)//4+1 (width-1)//4+1"] = self.stage5(
            F.max_pool2d(fourth, 3, 2, padding=1)
        )
        return fifth
