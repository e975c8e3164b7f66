"""MobileNetV2: depthwise convolutions between a widening and a narrowing 1x1 convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import (
    check_at_least_one,
    check_between,
    check_image_size,
    check_probability,
    init_he,
    init_normal,
)
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights, Renaming

# The size after the stride; the stages of the model give it in terms of the image size.
Strided = Float[Tensor, "batch channels out_height out_width"]
StridedHidden = Float[Tensor, "batch hidden out_height out_width"]

# Expansion, channels, blocks and first stride of each stage: the paper's table 2, with stride 1 instead
# of 2 at 24 channels (and in the stem), so that a 32x32 image ends as 4x4.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(Module):
    """`1x1 up, depthwise 3x3, 1x1 down`, each with BatchNorm, the last without activation.

    The input is added back if its shape does not change. With `expansion=1` there is no first convolution.
    """

    in_channels: int
    channels: int
    hidden: int
    stride: int

    def __init__(self, in_channels: int, channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.hidden = hidden = in_channels * expansion
        self.stride = stride
        self.expand: nn.Conv2d | None = None
        if expansion != 1:
            self.expand = nn.Conv2d(in_channels, hidden, 1, bias=False)
            self.expand_bn = nn.BatchNorm2d(hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(hidden)
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(channels)

    def forward(self, inputs: Float[Tensor, "batch in_channels height width"]) -> Strided:
        """Widen the input, filter it, and project it back."""
        wide: Float[Tensor, "batch hidden height width"] = (
            inputs if self.expand is None else F.relu6(self.expand_bn(self.expand(inputs)), inplace=True)
        )
        filtered: StridedHidden = F.relu6(self.depthwise_bn(self.depthwise(wide)), inplace=True)
        narrow: Strided = self.project_bn(self.project(filtered))
        return narrow.add_(inputs) if self.stride == 1 and self.in_channels == self.channels else narrow


class MobileNetV2Cifar(ImageClassifier):
    """MobileNetV2 with two strides fewer, for small images; 2,236,682 parameters at factor 1.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`.

    "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv 1801.04381. It is torchvision's net with
    stride 1 in the stem and at 24 channels, as in pytorch-cifar-models; the net of pytorch-cifar (2,296,922
    parameters) adds 1x1 shortcuts that the paper does not have.

    Parity partner: torchvision. Differs from the paper: stride 1 in the stem and at 24 channels.

    Args:
        width_factor: factor on the channels of each layer, in steps of 8; the last has at least 1,280.
        dropout: probability in [0, 1) of zeroing a feature before the head, in training mode only.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stem_channels: int
    channels: int
    last_channels: int

    def __init__(
        self,
        *,
        width_factor: float = 1.0,
        dropout: float = 0.2,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        check_probability(dropout=dropout)
        check_between(0.05, 100, width_factor=width_factor)
        self.width_factor = width_factor
        self.dropout = dropout
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.stem_channels = channels = _widened(32, width_factor)
        self.last_channels = _widened(1280, max(1.0, width_factor))
        with torch.device("meta"):
            self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
            self.stem_bn = nn.BatchNorm2d(channels)
            blocks: list[InvertedResidual] = []
            for expansion, narrow, num_blocks, first_stride in STAGES:
                out_channels = _widened(narrow, width_factor)
                for i in range(num_blocks):
                    stride = first_stride if i == 0 else 1
                    blocks.append(
                        InvertedResidual(channels, out_channels, stride=stride, expansion=expansion)
                    )
                    channels = out_channels
            self.blocks = nn.Sequential(*blocks)
            self.channels = channels
            self.last = nn.Conv2d(channels, self.last_channels, 1, bias=False)
            self.last_bn = nn.BatchNorm2d(self.last_channels)
            self.head = nn.Linear(self.last_channels, num_classes)
        # The last block at each size.
        self.stages = tuple(
            Stage(f"blocks.{i}", blocks[i].channels, stride)
            for i, stride in ((2, 1), (5, 2), (12, 4), (16, 8))
        )
        self._allocate(generator)

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of torchvision's `mobilenet_v2`; strides do not show in weights.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(state_dict, _torchvision_keys())
        return weights.build(
            cls,
            width_factor=weights.shape("blocks.16.project.weight", 4)[0] / 320,
            in_channels=weights.shape("stem.weight", 4)[1],
        )

    @classmethod
    def from_chenyaofo(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from `cifar10_mobilenetv2_x1_0` and the other widths of pytorch-cifar-models.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        return cls.from_torchvision(state_dict)  # the layout is torchvision's

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch last_channels (height-1)//8+1 (width-1)//8+1"] = self.forward_features(
            images
        )
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch last_channels (height-1)//8+1 (width-1)//8+1"]:
        """Map images to the output of the last convolution."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch stem_channels height width"] = F.relu6(
            self.stem_bn(self.stem(images)), inplace=True
        )
        blocks: Float[Tensor, "batch channels (height-1)//8+1 (width-1)//8+1"] = self.blocks(stem)
        last: Float[Tensor, "batch last_channels (height-1)//8+1 (width-1)//8+1"] = F.relu6(
            self.last_bn(self.last(blocks)), inplace=True
        )
        return last

    def forward_pool(
        self, features: Float[Tensor, "batch last_channels height width"]
    ) -> Float[Tensor, "batch last_channels"]:
        """Map features to one row per image: their mean over the pixels, with dropout."""
        return F.dropout(super().forward_pool(features), self.dropout, self.training)

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw He normal convolutions and a head of standard deviation 0.01."""
        if isinstance(module, nn.Linear):
            init_normal(module, generator, std=0.01)
        else:
            init_he(module, generator, mode="fan_out")


def _widened(channels: int, factor: float) -> int:
    """Scale a number of channels to the nearest multiple of 8 that is not below nine tenths of it."""
    scaled = channels * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


def _torchvision_keys() -> Renaming:
    """Name torchvision's numbered layers: a block without expansion has one fewer."""
    first = r"^features\.1\.conv\."
    other = r"^features\.(\d+)\.conv\."
    return {
        r"^features\.0\.0\.": "stem.",
        r"^features\.0\.1\.": "stem_bn.",
        r"^features\.18\.0\.": "last.",
        r"^features\.18\.1\.": "last_bn.",
        r"^classifier\.1\.": "head.",
        first + r"0\.0\.": "blocks.0.depthwise.",
        first + r"0\.1\.": "blocks.0.depthwise_bn.",
        first + r"1\.": "blocks.0.project.",
        first + r"2\.": "blocks.0.project_bn.",
        other + r"0\.0\.": r"features.\1.expand.",
        other + r"0\.1\.": r"features.\1.expand_bn.",
        other + r"1\.0\.": r"features.\1.depthwise.",
        other + r"1\.1\.": r"features.\1.depthwise_bn.",
        other + r"2\.": r"features.\1.project.",
        other + r"3\.": r"features.\1.project_bn.",
        r"^features\.(\d+)\.": lambda match: f"blocks.{int(match[1]) - 1}.",
    }
