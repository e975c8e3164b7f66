"""VGG-16 with BatchNorm: stacks of 3x3 convolutions and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size, init_he, init_normal
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VggStage(Module):
    """`3x3 convolution, BatchNorm, ReLU` once per width, then 2x2 max pooling."""

    in_channels: int
    channels: int

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = widths[-1]
        self.convs = nn.ModuleList(
            nn.Conv2d(narrow, wide, 3, padding=1) for narrow, wide in pairwise((in_channels, *widths))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(wide) for wide in widths)

    def forward(
        self, inputs: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels height//2 width//2"]:
        """Convolve at one size, then halve it."""
        hidden: Float[Tensor, "batch _ height width"] = inputs
        for conv, norm in zip(self.convs, self.norms, strict=True):
            hidden: Float[Tensor, "batch _ height width"] = F.relu(norm(conv(hidden)), inplace=True)
        return F.max_pool2d(hidden, 2)


class Vgg16Cifar(ImageClassifier):
    """VGG-16 with BatchNorm and a single linear layer on top, for small images; 14,728,266 parameters.

    Images `[batch in_channels height width]`, at least 32x32, to logits `[batch num_classes]`; five stages
    at strides 2, 4, 8, 16 and 32. If more than one pixel is left, the head takes their mean.

    "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv 1409.1556, configuration D;
    BatchNorm after each convolution, and one linear layer for the paper's three of 4096, 4096 and 1000.

    Parity partner: torchvision. Differs from the paper: BatchNorm; one linear layer as head.

    Args:
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = tuple(Stage(f"stage{i + 1}", widths[-1], 2 ** (i + 1)) for i, widths in enumerate(WIDTHS))

    def __init__(
        self, *, in_channels: int = 3, num_classes: int = 10, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        self.num_classes = num_classes
        with torch.device("meta"):
            self.stage1 = VggStage(in_channels, WIDTHS[0])
            self.stage2 = VggStage(64, WIDTHS[1])
            self.stage3 = VggStage(128, WIDTHS[2])
            self.stage4 = VggStage(256, WIDTHS[3])
            self.stage5 = VggStage(512, WIDTHS[4])
            self.head = nn.Linear(512, num_classes)
        self._allocate(generator)

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from `vgg16_bn` of torchvision whose classifier was replaced by one linear layer.

        Raises:
            CheckpointError: names or shapes do not fit, such as the classifier for large images.
        """
        weights = ForeignWeights(state_dict, _torchvision_keys())
        return weights.build(cls, in_channels=weights.shape("stage1.convs.0.weight", 4)[1])

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 512 height//32 width//32"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 512 height//32 width//32"]:
        """Map images to the output of the last stage."""
        check_image_size(self, images, 32, "halves its images five times")
        first: Float[Tensor, "batch 64 height//2 width//2"] = self.stage1(images)
        second: Float[Tensor, "batch 128 height//4 width//4"] = self.stage2(first)
        third: Float[Tensor, "batch 256 height//8 width//8"] = self.stage3(second)
        fourth: Float[Tensor, "batch 512 height//16 width//16"] = self.stage4(third)
        fifth: Float[Tensor, "batch 512 height//32 width//32"] = self.stage5(fourth)
        return fifth

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw He normal convolutions and a head of standard deviation 0.01."""
        if isinstance(module, nn.Linear):
            init_normal(module, generator, std=0.01)
        else:
            init_he(module, generator, mode="fan_out")


def _torchvision_keys() -> dict[str, str]:
    """Name torchvision's numbered layers: three per convolution, one per pooling."""
    keys = {r"^classifier\.": "head."}
    index = 0
    for stage, widths in enumerate(WIDTHS, start=1):
        for i in range(len(widths)):
            keys[re.escape(f"features.{index}.")] = f"stage{stage}.convs.{i}."
            keys[re.escape(f"features.{index + 1}.")] = f"stage{stage}.norms.{i}."
            index += 3
        index += 1
    return keys
