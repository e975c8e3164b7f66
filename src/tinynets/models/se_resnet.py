"""SE-ResNet: residual blocks with gates on the channels, computed from the whole image."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size, init_he_but_linear
from ..layers.residual import stage
from ..module import Module
from .base import ImageClassifier, Stage

# The size after the stride; the stages of the model give it in terms of the image size.
Strided = Float[Tensor, "batch channels out_height out_width"]


class SqueezeExcitation(Module):
    """Scale each channel by a gate in (0, 1), which two linear layers compute from the means of all channels.

    Args:
        channels: channels of input and output.
        hidden: width between the linear layers, which have no biases.
    """

    channels: int
    hidden: int

    def __init__(self, channels: int, *, hidden: int) -> None:
        super().__init__()
        self.channels = channels
        self.hidden = hidden
        self.fc1 = nn.Linear(channels, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, channels, bias=False)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Squeeze, excite, scale."""
        squeezed: Float[Tensor, "batch channels"] = inputs.mean((2, 3))
        narrow: Float[Tensor, "batch hidden"] = F.relu(self.fc1(squeezed), inplace=True)
        gates: Float[Tensor, "batch channels"] = self.fc2(narrow).sigmoid()
        return inputs * rearrange(gates, "b c -> b c 1 1")


class SeBlock(Module):
    """The basic residual block with `SqueezeExcitation` before the addition (arXiv 1709.01507, figure 3).

    Args:
        in_channels: channels of the input.
        channels: channels of the output; if they change, a 1x1 convolution and BatchNorm project the input.
        stride: step of the first convolution and of the shortcut.
        reduction: how many times narrower the gates' hidden layer is.
    """

    in_channels: int
    channels: int

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, reduction: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = SqueezeExcitation(channels, hidden=channels // reduction)
        self.shortcut: nn.Sequential | None = None
        if in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, inputs: Float[Tensor, "batch in_channels height width"]) -> Strided:
        """Add the weighed output of two convolutions to the input."""
        first: Strided = F.relu(self.bn1(self.conv1(inputs)), inplace=True)
        second: Strided = self.bn2(self.conv2(first))
        weighed: Strided = self.se(second)
        carried: Strided = inputs if self.shortcut is None else self.shortcut(inputs)
        return F.relu(weighed + carried, inplace=True)


class SeResNet(ImageClassifier):
    """SE-ResNet-20 for small images; 274,490 parameters.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; three stages of
    16, 32 and 64 channels at strides 1, 2 and 4.

    "Squeeze-and-Excitation Networks", arXiv 1709.01507, in the form of senet.pytorch: shortcut B, linear
    layers without biases, a hidden layer of one unit at 16 channels.

    Parity partner: reference in the test. Differs from the paper: shortcut B, gates without biases.

    Args:
        depth: number of weighted layers without the gates', `6 n + 2`.
        reduction: how many times narrower than the channels the gates' hidden layers are; it divides 16.
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
        reduction: int = 16,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(depth=depth, reduction=reduction, in_channels=in_channels, num_classes=num_classes)
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth must be 6n+2 with n >= 1, such as 20, 32 or 56, got {depth}")
        if 16 % reduction:
            raise ValueError(f"reduction must be a divisor of 16, got {reduction}")
        self.depth = depth
        self.reduction = reduction
        self.in_channels = in_channels
        self.num_classes = num_classes
        num_blocks = (depth - 2) // 6
        block = partial(SeBlock, reduction=reduction)
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            self.layer1 = stage(block, 16, 16, num_blocks, stride=1)
            self.layer2 = stage(block, 16, 32, num_blocks, stride=2)
            self.layer3 = stage(block, 32, 64, num_blocks, stride=2)
            self.head = nn.Linear(64, num_classes)
        self._allocate(generator)

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
        """Draw He normal convolutions (fan-in); linear layers get torch's default."""
        init_he_but_linear(module, generator, mode="fan_in")
