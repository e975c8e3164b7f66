"""Wide residual networks: few layers, many channels, normalisation before convolution."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size, check_probability, init_he
from ..layers.residual import stage
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights

# Names in xternalz' WideResNet-pytorch on the left; ours on the right.
XTERNALZ_KEYS = {
    r"^block(\d)\.layer\.": r"layer\1.",
    r"\.convShortcut\.": ".shortcut.",
    r"^bn1\.": "bn.",
    r"^fc\.": "head.",
}
# The size after the stride; the stages of the model give it in terms of the image size.
Strided = Float[Tensor, "batch channels out_height out_width"]


class WideBlock(Module):
    """`BatchNorm, ReLU, 3x3, BatchNorm, ReLU, Dropout, 3x3` with a residual connection.

    Where the channels change, the shortcut is a 1x1 convolution of the activated input.

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: step of the first convolution and of the shortcut.
        dropout: probability of zeroing a value between the convolutions, in training mode only.
    """

    in_channels: int
    channels: int
    stride: int

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.stride = stride
        self.dropout = dropout
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = (
            None if in_channels == channels else nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        )

    def forward(self, inputs: Float[Tensor, "batch in_channels height width"]) -> Strided:
        """Add the output of two convolutions to the input."""
        active: Float[Tensor, "batch in_channels height width"] = F.relu(self.bn1(inputs), inplace=True)
        first: Strided = F.relu(self.bn2(self.conv1(active)), inplace=True)
        kept: Strided = F.dropout(first, self.dropout, self.training)
        second: Strided = self.conv2(kept)
        carried: Strided = inputs if self.shortcut is None else self.shortcut(active)
        return second.add_(carried)


class WideResNet(ImageClassifier):
    """WRN-depth-width for small images; 2,748,890 parameters at 16-4 and 36,479,194 at 28-10.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; three stages of
    16, 32 and 64 times `widen_factor` channels at strides 1, 2 and 4.

    "Wide Residual Networks", arXiv 1605.07146. Follows the authors' code: no bias in a convolution, the
    stride in a block's first convolution, the shortcut taken after the first activation.

    Parity partner: reference in the test. Differs from the paper: none.

    Args:
        depth: number of weighted layers, `6 n + 4`.
        widen_factor: factor on the channels of every stage.
        dropout: probability in [0, 1) of zeroing a value between a block's convolutions, in training only.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    widen_factor: int

    def __init__(
        self,
        *,
        depth: int = 16,
        widen_factor: int = 4,
        dropout: float = 0.0,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(
            depth=depth, widen_factor=widen_factor, in_channels=in_channels, num_classes=num_classes
        )
        check_probability(dropout=dropout)
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6n+4 with n >= 1, such as 16, 22, 28 or 40, got {depth}")
        self.depth = depth
        self.widen_factor = widen_factor
        self.dropout = dropout
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.stages = tuple(Stage(f"layer{i + 1}", 16 * widen_factor * 2**i, 2**i) for i in range(3))
        num_blocks = (depth - 4) // 6
        block = partial(WideBlock, dropout=dropout)
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
            self.layer1 = stage(block, 16, 16 * widen_factor, num_blocks, stride=1)
            self.layer2 = stage(block, 16 * widen_factor, 32 * widen_factor, num_blocks, stride=2)
            self.layer3 = stage(block, 32 * widen_factor, 64 * widen_factor, num_blocks, stride=2)
            self.bn = nn.BatchNorm2d(64 * widen_factor)
            self.head = nn.Linear(64 * widen_factor, num_classes)
        self._allocate(generator)

    @classmethod
    def from_xternalz(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from `WideResNet` of WideResNet-pytorch.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(state_dict, XTERNALZ_KEYS)
        return weights.build(
            cls,
            depth=6 * weights.count("layer1") + 4,
            widen_factor=weights.shape("head.weight", 2)[1] // 64,
            in_channels=weights.shape("conv1.weight", 4)[1],
        )

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 64*widen_factor (height-1)//4+1 (width-1)//4+1"] = (
            self.forward_features(images)
        )
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 64*widen_factor (height-1)//4+1 (width-1)//4+1"]:
        """Map images to the normalised and activated output of the last stage."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch 16 height width"] = self.conv1(images)
        first: Float[Tensor, "batch 16*widen_factor height width"] = self.layer1(stem)
        second: Float[Tensor, "batch 32*widen_factor (height-1)//2+1 (width-1)//2+1"] = self.layer2(first)
        third: Float[Tensor, "batch 64*widen_factor (height-1)//4+1 (width-1)//4+1"] = self.layer3(second)
        active: Float[Tensor, "batch 64*widen_factor (height-1)//4+1 (width-1)//4+1"] = F.relu(
            self.bn(third), inplace=True
        )
        return active

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw He normal weights (fan-in), including the head's, as the authors' PyTorch code does.

        That code also draws the scales of BatchNorm from [0, 1]; here they start at 1.
        """
        init_he(module, generator, mode="fan_in")
