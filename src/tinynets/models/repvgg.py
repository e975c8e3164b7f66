"""RepVGG: trained with three branches per layer, which are fused into one 3x3 convolution afterwards."""

from __future__ import annotations

from functools import partial
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size, init_default
from ..layers.residual import stage
from ..module import Module
from .base import ImageClassifier, Stage

# The size after the stride; the stages of the model give it in terms of the image size.
Strided = Float[Tensor, "batch channels out_height out_width"]

# Channels, blocks and first stride of each stage: A0 of the paper's table 2, with stride 1 instead of 2 in
# the first stage (and in the stem), so that a 32x32 image ends as 4x4.
STAGES = ((48, 2, 1), (96, 4, 2), (192, 14, 2), (1280, 1, 2))


class RepVggBlock(Module):
    """The ReLU of a sum: 3x3, 1x1 and, if its shape does not change, the input, each with BatchNorm.

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: step of both convolutions.
        fused: whether to use one equivalent convolution with a bias.
    """

    in_channels: int
    channels: int

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1, fused: bool) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.fused: nn.Conv2d | None = None
        self.identity_bn: nn.BatchNorm2d | None = None
        if fused:
            self.fused = nn.Conv2d(in_channels, channels, 3, stride, padding=1)
            return
        self.conv3 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        if in_channels == channels and stride == 1:
            self.identity_bn = nn.BatchNorm2d(channels)

    def forward(self, inputs: Float[Tensor, "batch in_channels height width"]) -> Strided:
        """Add up the branches."""
        if self.fused is not None:
            whole: Strided = self.fused(inputs)
            return F.relu(whole, inplace=True)
        wide: Strided = self.bn3(self.conv3(inputs))
        summed: Strided = wide.add_(self.bn1(self.conv1(inputs)))
        if self.identity_bn is not None:
            summed: Strided = summed.add_(self.identity_bn(inputs))
        return F.relu(summed, inplace=True)

    def kernel_and_bias(self) -> tuple[Tensor, Tensor]:
        """Return the 3x3 kernel and the bias of the single convolution that is equivalent in eval mode."""
        assert self.fused is None, "it has no branches any more"
        kernel, bias = _folded(self.conv3.weight, self.bn3)
        point, point_bias = _folded(self.conv1.weight, self.bn1)
        kernel, bias = kernel + F.pad(point, (1, 1, 1, 1)), bias + point_bias
        if self.identity_bn is not None:
            unit = torch.eye(self.channels, dtype=kernel.dtype, device=kernel.device)
            same, same_bias = _folded(unit[:, :, None, None], self.identity_bn)
            kernel, bias = kernel + F.pad(same, (1, 1, 1, 1)), bias + same_bias
        return kernel, bias


class RepVggA0Cifar(ImageClassifier):
    """RepVGG-A0 with two strides fewer, for small images; 7,840,874 parameters, 7,041,194 fused.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`; four stages of 48,
    96, 192 and 1280 channels at strides 1, 2, 4 and 8. `fuse()` returns the net for inference, with one
    convolution per block.

    "RepVGG: Making VGG-style ConvNets Great Again", arXiv 2101.03697.

    Parity partner: timm. Differs from the paper: stride 1 in the stem and in the first stage.

    Args:
        fused: whether every block is one convolution, as `fuse` makes it.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = tuple(Stage(f"stage{i + 1}", STAGES[i][0], 2**i) for i in range(4))

    def __init__(
        self,
        *,
        fused: bool = False,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        self.fused = fused
        self.in_channels = in_channels
        self.num_classes = num_classes
        block = partial(RepVggBlock, fused=fused)
        with torch.device("meta"):
            self.stem = block(in_channels, 48)
            self.stage1 = stage(block, 48, *STAGES[0])
            self.stage2 = stage(block, 48, *STAGES[1])
            self.stage3 = stage(block, 96, *STAGES[2])
            self.stage4 = stage(block, 192, *STAGES[3])
            self.head = nn.Linear(1280, num_classes)
        self._allocate(generator)

    def fuse(self) -> Self:
        """Return a net for inference that is equivalent to this one in eval mode; this one does not change.

        Raises:
            ValueError: it is fused already.
        """
        if self.fused:
            raise ValueError("this RepVggA0Cifar is fused already")
        fused = type(self)(fused=True, in_channels=self.in_channels, num_classes=self.num_classes)
        fused = fused.to(self.head.weight.device, self.head.weight.dtype)
        with torch.no_grad():
            for block, target in zip(_blocks(self), _blocks(fused), strict=True):
                kernel, bias = block.kernel_and_bias()
                assert target.fused is not None
                assert target.fused.bias is not None
                target.fused.weight.copy_(kernel)
                target.fused.bias.copy_(bias)
        fused.head.load_state_dict(self.head.state_dict())
        fused.normalization = self.normalization
        return fused.eval()

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 1280 (height-1)//8+1 (width-1)//8+1"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 1280 (height-1)//8+1 (width-1)//8+1"]:
        """Map images to the output of the last stage."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch 48 height width"] = self.stem(images)
        first: Float[Tensor, "batch 48 height width"] = self.stage1(stem)
        second: Float[Tensor, "batch 96 (height-1)//2+1 (width-1)//2+1"] = self.stage2(first)
        third: Float[Tensor, "batch 192 (height-1)//4+1 (width-1)//4+1"] = self.stage3(second)
        fourth: Float[Tensor, "batch 1280 (height-1)//8+1 (width-1)//8+1"] = self.stage4(third)
        return fourth

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw torch's defaults, as the authors' code does."""
        init_default(module, generator)


def _blocks(model: nn.Module) -> list[RepVggBlock]:
    return [module for module in model.modules() if isinstance(module, RepVggBlock)]


def _folded(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the kernel and bias of a convolution that includes the BatchNorm after it, in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return kernel * scale[:, None, None, None], norm.bias - norm.running_mean * scale
