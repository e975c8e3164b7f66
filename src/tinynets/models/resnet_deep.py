"""ResNet-34 and ResNet-50 whose stem keeps the size of small images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_choice, check_image_size, init_he_but_linear
from ..layers.bottleneck import Bottleneck
from ..layers.residual import BasicBlock, stage
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights
from .resnet import TORCHVISION_KEYS

NUM_BLOCKS = (3, 4, 6, 3)


class DeepResNetCifar(ImageClassifier):
    """ResNet-34 and -50 with a 3x3 stem for small images; 21,282,122 and 23,520,842 parameters.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; four stages at
    strides 1, 2, 4 and 8, of 64 to 512 channels at depth 34 and of 256 to 2048 at depth 50.

    "Deep Residual Learning for Image Recognition", arXiv 1512.03385, table 1, except for the stem: a 3x3
    convolution of stride 1 and no max pooling, as in pytorch-cifar. ResNet-50 has the stride in the 3x3
    convolutions, as in torchvision and pytorch-cifar; the paper has it in the 1x1 before.

    Parity partner: torchvision. Differs from the paper: 3x3 stem, no max pooling; stride in the 3x3.

    Args:
        depth: number of weighted layers, 34 or 50.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    base_channels: int

    def __init__(
        self,
        *,
        depth: Literal[34, 50] = 34,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_choice("depth", depth, (34, 50))
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        self.depth = depth
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.base_channels = base = 64 if depth == 34 else 256
        self.stages = tuple(Stage(f"layer{i + 1}", base * 2**i, 2**i) for i in range(4))
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.layer1 = _stage(depth, 64, base, NUM_BLOCKS[0], stride=1)
            self.layer2 = _stage(depth, base, 2 * base, NUM_BLOCKS[1], stride=2)
            self.layer3 = _stage(depth, 2 * base, 4 * base, NUM_BLOCKS[2], stride=2)
            self.layer4 = _stage(depth, 4 * base, 8 * base, NUM_BLOCKS[3], stride=2)
            self.head = nn.Linear(8 * base, num_classes)
        self._allocate(generator)

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of `resnet34` or `resnet50` whose first convolution is 3x3.

        Weights do not show whether their net has the max pooling; this one does not. pytorch-cifar (kuangliu)
        has the same layout.

        Raises:
            CheckpointError: names or shapes do not fit, such as the 7x7 stem for large images.
        """
        weights = ForeignWeights(state_dict, TORCHVISION_KEYS)
        return weights.build(
            cls,
            depth=50 if "layer1.0.conv3.weight" in weights else 34,
            in_channels=weights.shape("conv1.weight", 4)[1],
        )

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 8*base_channels (height-1)//8+1 (width-1)//8+1"] = (
            self.forward_features(images)
        )
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 8*base_channels (height-1)//8+1 (width-1)//8+1"]:
        """Map images to the output of the last stage."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch 64 height width"] = F.relu(self.bn1(self.conv1(images)), inplace=True)
        first: Float[Tensor, "batch base_channels height width"] = self.layer1(stem)
        second: Float[Tensor, "batch 2*base_channels (height-1)//2+1 (width-1)//2+1"] = self.layer2(first)
        third: Float[Tensor, "batch 4*base_channels (height-1)//4+1 (width-1)//4+1"] = self.layer3(second)
        fourth: Float[Tensor, "batch 8*base_channels (height-1)//8+1 (width-1)//8+1"] = self.layer4(third)
        return fourth

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw He normal convolutions; the head gets torch's default."""
        init_he_but_linear(module, generator)


def _stage(depth: int, in_channels: int, channels: int, num_blocks: int, *, stride: int) -> nn.Sequential:
    block = BasicBlock if depth == 34 else partial(Bottleneck, inner=channels // 4)
    return stage(block, in_channels, channels, num_blocks, stride=stride)
