"""ResNeXt: bottlenecks whose 3x3 convolution sees its channels in groups."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size, init_he
from ..layers.bottleneck import Bottleneck
from ..layers.residual import stage
from .base import ImageClassifier, Stage


class ResNeXt29(ImageClassifier):
    """ResNeXt-29 for small images; 9,130,314 parameters as 2x64d and 34,426,698 as 8x64d.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; three stages of
    256, 512 and 1024 channels at strides 1, 2 and 4, of three blocks each.

    "Aggregated Residual Transformations for Deep Neural Networks", arXiv 1611.05431, section 5.3.
    The 2x64d of pytorch-cifar has a 1x1 stem: 9,128,778.

    Parity partner: torchvision's blocks. Differs from the paper: none.

    Args:
        cardinality: groups of the 3x3 convolutions.
        base_width: channels of a group in the first stage; they double from stage to stage.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = (Stage("layer1", 256, 1), Stage("layer2", 512, 2), Stage("layer3", 1024, 4))

    def __init__(
        self,
        *,
        cardinality: int = 2,
        base_width: int = 64,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(
            cardinality=cardinality, base_width=base_width, in_channels=in_channels, num_classes=num_classes
        )
        self.cardinality = cardinality
        self.base_width = base_width
        self.in_channels = in_channels
        self.num_classes = num_classes
        block, inner = partial(Bottleneck, groups=cardinality), cardinality * base_width
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.layer1 = stage(partial(block, inner=inner), 64, 256, 3, stride=1)
            self.layer2 = stage(partial(block, inner=2 * inner), 256, 512, 3, stride=2)
            self.layer3 = stage(partial(block, inner=4 * inner), 512, 1024, 3, stride=2)
            self.head = nn.Linear(1024, num_classes)
        self._allocate(generator)

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
        """Map images to the output of the last stage."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch 64 height width"] = F.relu(self.bn1(self.conv1(images)), inplace=True)
        first: Float[Tensor, "batch 256 height width"] = self.layer1(stem)
        second: Float[Tensor, "batch 512 (height-1)//2+1 (width-1)//2+1"] = self.layer2(first)
        third: Float[Tensor, "batch 1024 (height-1)//4+1 (width-1)//4+1"] = self.layer3(second)
        return third

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw He normal weights, including the head's."""
        init_he(module, generator, mode="fan_out" if isinstance(module, nn.Conv2d) else "fan_in")
