"""`Bottleneck`, the block of ResNet-50 and ResNeXt: stride in the 3x3 convolution, projected shortcut."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..module import Module

# The size after the stride; the stages of the model give it in terms of the image size.
Strided = Float[Tensor, "batch channels out_height out_width"]


class Bottleneck(Module):
    """`1x1, 3x3, 1x1` with a residual connection (arXiv 1512.03385, figure 5 right).

    The stride is in the 3x3 convolution. If its shape changes, the input is projected (1x1 convolution and
    BatchNorm).

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        inner: channels of the 3x3 convolution.
        stride: step of the 3x3 convolution and of the shortcut.
        groups: groups of the 3x3 convolution.
    """

    in_channels: int
    channels: int
    inner: int
    stride: int

    def __init__(
        self, in_channels: int, channels: int, *, inner: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.inner = inner
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, inputs: Float[Tensor, "batch in_channels height width"]) -> Strided:
        """Add the output of three convolutions to the input."""
        narrow: Float[Tensor, "batch inner height width"] = F.relu(self.bn1(self.conv1(inputs)), inplace=True)
        filtered: Float[Tensor, "batch inner out_height out_width"] = F.relu(
            self.bn2(self.conv2(narrow)), inplace=True
        )
        wide: Strided = self.bn3(self.conv3(filtered))
        carried: Strided = inputs if self.shortcut is None else self.shortcut(inputs)
        # In place: neither BatchNorm nor the addition needs its output for the gradient.
        return F.relu(wide.add_(carried), inplace=True)
