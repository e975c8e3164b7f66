"""The block of ResNet-18 and the CIFAR ResNets, its shortcuts A and B, and stages of residual blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..module import Module

# The size after the stride; the stages of the model give it in terms of the image size.
Strided = Float[Tensor, "batch channels out_height out_width"]


class ZeroPadShortcut(Module):
    """Shortcut A of ResNet (arXiv 1512.03385, section 4.2): every `stride`-th pixel, new channels all zero.

    It has no weights. The new channels are split evenly before and after the old ones.
    """

    in_channels: int
    channels: int
    stride: int

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.stride = stride

    def forward(self, inputs: Float[Tensor, "batch in_channels height width"]) -> Strided:
        """Subsample the pixels and pad the channels."""
        missing = self.channels - self.in_channels
        kept: Float[Tensor, "batch in_channels out_height out_width"] = inputs[
            :, :, :: self.stride, :: self.stride
        ]
        padded: Strided = F.pad(kept, (0, 0, 0, 0, missing // 2, missing - missing // 2))
        return padded


class BasicBlock(Module):
    """Two 3x3 convolutions with a residual connection (arXiv 1512.03385, figure 5 left).

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: step of the first convolution and of the shortcut.
        shortcut: how to add an input whose shape changes: "A" pads with zeros, "B" projects (1x1 convolution
            and BatchNorm). An input of the same shape is added unchanged.
    """

    in_channels: int
    channels: int
    stride: int

    def __init__(
        self, in_channels: int, channels: int, *, stride: int = 1, shortcut: Literal["A", "B"] = "B"
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.shortcut = (
                ZeroPadShortcut(in_channels, channels, stride)
                if shortcut == "A"
                else nn.Sequential(
                    nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
                )
            )

    def forward(self, inputs: Float[Tensor, "batch in_channels height width"]) -> Strided:
        """Add the output of two convolutions to the input."""
        first: Strided = F.relu(self.bn1(self.conv1(inputs)), inplace=True)
        second: Strided = self.bn2(self.conv2(first))
        carried: Strided = inputs if self.shortcut is None else self.shortcut(inputs)
        # In place: neither BatchNorm nor the addition needs its output for the gradient.
        return F.relu(second.add_(carried), inplace=True)


def stage(
    block: Callable[..., nn.Module], in_channels: int, channels: int, num_blocks: int, stride: int
) -> nn.Sequential:
    """Stack blocks of which the first changes size and channels."""
    rest = (block(channels, channels) for _ in range(num_blocks - 1))
    return nn.Sequential(block(in_channels, channels, stride=stride), *rest)
