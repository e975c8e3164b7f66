"""EfficientNet: inverted residuals with gates, with kernels, depths and widths from a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import init

from ..layers import check_at_least_one, check_image_size, check_probability, init_he
from ..layers.attention import drop_path
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights, Renaming

# The size after the stride; the stages of the model give it in terms of the image size.
Strided = Float[Tensor, "batch channels out_height out_width"]
StridedHidden = Float[Tensor, "batch hidden out_height out_width"]

# Expansion, channels, kernel, blocks and first stride of each stage: the paper's table 1, with stride 1
# instead of 2 at 24 channels (and in the stem), so that a 32x32 image ends as 4x4.
STAGES = (
    (1, 16, 3, 1, 1),
    (6, 24, 3, 2, 1),
    (6, 40, 5, 2, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 5, 3, 1),
    (6, 192, 5, 4, 2),
    (6, 320, 3, 1, 1),
)
# torchvision's names on the left; ours on the right. A block without expansion has one layer fewer.
TORCHVISION_KEYS: Renaming = {
    r"^features\.0\.0\.": "stem.",
    r"^features\.0\.1\.": "stem_bn.",
    r"^features\.8\.0\.": "last.",
    r"^features\.8\.1\.": "last_bn.",
    r"^classifier\.1\.": "head.",
    r"^features\.1\.0\.block\.(\d)": lambda match: f"features.1.0.block.{int(match[1]) + 1}",
    r"^features\.(\d)\.": r"stage\1.",
    r"\.block\.0\.0\.": ".expand.",
    r"\.block\.0\.1\.": ".expand_bn.",
    r"\.block\.1\.0\.": ".depthwise.",
    r"\.block\.1\.1\.": ".depthwise_bn.",
    r"\.block\.2\.": ".gate.",
    r"\.block\.3\.0\.": ".project.",
    r"\.block\.3\.1\.": ".project_bn.",
}


class Gate(Module):
    """Scale each channel by a number in (0, 1), which two linear layers compute from all channels' means."""

    channels: int
    hidden: int

    def __init__(self, channels: int, *, hidden: int) -> None:
        super().__init__()
        self.channels = channels
        self.hidden = hidden
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Squeeze, excite, scale."""
        squeezed: Float[Tensor, "batch channels"] = inputs.mean((2, 3))
        narrow: Float[Tensor, "batch hidden"] = F.silu(self.fc1(squeezed))
        gates: Float[Tensor, "batch channels"] = self.fc2(narrow).sigmoid()
        return inputs * rearrange(gates, "b c -> b c 1 1")


class MBConv(Module):
    """`1x1 up, depthwise, gate, 1x1 down`, with BatchNorm, the last without activation.

    The input is added back if its shape does not change. With `expansion=1` there is no first convolution.
    """

    in_channels: int
    channels: int
    hidden: int

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel_size: int,
        stride: int,
        expansion: int,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.hidden = hidden = in_channels * expansion
        self.residual = stride == 1 and in_channels == channels
        self.drop_path_rate = drop_path_rate
        self.expand: nn.Conv2d | None = None
        if expansion != 1:
            self.expand = nn.Conv2d(in_channels, hidden, 1, bias=False)
            self.expand_bn = nn.BatchNorm2d(hidden)
        self.depthwise = nn.Conv2d(
            hidden, hidden, kernel_size, stride, padding=kernel_size // 2, groups=hidden, bias=False
        )
        self.depthwise_bn = nn.BatchNorm2d(hidden)
        self.gate = Gate(hidden, hidden=max(1, in_channels // 4))
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(channels)

    def forward(self, inputs: Float[Tensor, "batch in_channels height width"]) -> Strided:
        """Widen the input, filter it, weigh its channels, and project it back."""
        wide: Float[Tensor, "batch hidden height width"] = (
            inputs if self.expand is None else F.silu(self.expand_bn(self.expand(inputs)))
        )
        filtered: StridedHidden = F.silu(self.depthwise_bn(self.depthwise(wide)))
        weighed: StridedHidden = self.gate(filtered)
        narrow: Strided = self.project_bn(self.project(weighed))
        if not self.residual:
            return narrow
        return inputs + drop_path(narrow, self.drop_path_rate, self.training)


class EfficientNetB0Cifar(ImageClassifier):
    """EfficientNet-B0 with two strides fewer, for small images; 4,020,358 parameters.

    Images `[batch in_channels height width]` of any size to logits `[batch num_classes]`.

    "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv 1905.11946. It is
    torchvision's net with stride 1 in the stem and at 24 channels.

    Parity partner: torchvision. Differs from the paper: stride 1 in the stem and at 24 channels.

    Args:
        dropout: probability in [0, 1) of zeroing a feature before the head, in training mode only.
        stochastic_depth: probability in [0, 1) of skipping a block; it rises linearly from 0, and would be
            15/16 of this at the last block.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = (
        Stage("stage2", 24, 1),
        Stage("stage3", 40, 2),
        Stage("stage5", 112, 4),
        Stage("stage7", 320, 8),
    )

    def __init__(
        self,
        *,
        dropout: float = 0.2,
        stochastic_depth: float = 0.2,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        check_probability(dropout=dropout, stochastic_depth=stochastic_depth)
        self.dropout = dropout
        self.stochastic_depth = stochastic_depth
        self.in_channels = in_channels
        self.num_classes = num_classes
        with torch.device("meta"):
            self.stem = nn.Conv2d(in_channels, 32, 3, padding=1, bias=False)
            self.stem_bn = nn.BatchNorm2d(32)
            stages: list[nn.Sequential] = []
            before, placed = 32, 0
            for expansion, channels, kernel_size, num_blocks, first_stride in STAGES:
                stage = nn.Sequential()
                for i in range(num_blocks):
                    stage.append(
                        MBConv(
                            before,
                            channels,
                            kernel_size=kernel_size,
                            stride=first_stride if i == 0 else 1,
                            expansion=expansion,
                            drop_path_rate=stochastic_depth * placed / 16,
                        )
                    )
                    before, placed = channels, placed + 1
                stages.append(stage)
            self.stage1, self.stage2, self.stage3, self.stage4, self.stage5, self.stage6, self.stage7 = stages
            self.last = nn.Conv2d(320, 1280, 1, bias=False)
            self.last_bn = nn.BatchNorm2d(1280)
            self.head = nn.Linear(1280, num_classes)
        self._allocate(generator)

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of torchvision's `efficientnet_b0`; strides do not show in weights.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        weights = ForeignWeights(state_dict, TORCHVISION_KEYS)
        weights.flatten(r"\.gate\.fc\d\.weight$")
        return weights.build(cls, in_channels=weights.shape("stem.weight", 4)[1])

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
        """Map images to the output of the last convolution."""
        check_image_size(self, images, 1, "averages over the pixels")
        stem: Float[Tensor, "batch 32 height width"] = F.silu(self.stem_bn(self.stem(images)))
        first: Float[Tensor, "batch 16 height width"] = self.stage1(stem)
        second: Float[Tensor, "batch 24 height width"] = self.stage2(first)
        third: Float[Tensor, "batch 40 (height-1)//2+1 (width-1)//2+1"] = self.stage3(second)
        fourth: Float[Tensor, "batch 80 (height-1)//4+1 (width-1)//4+1"] = self.stage4(third)
        fifth: Float[Tensor, "batch 112 (height-1)//4+1 (width-1)//4+1"] = self.stage5(fourth)
        sixth: Float[Tensor, "batch 192 (height-1)//8+1 (width-1)//8+1"] = self.stage6(fifth)
        seventh: Float[Tensor, "batch 320 (height-1)//8+1 (width-1)//8+1"] = self.stage7(sixth)
        last: Float[Tensor, "batch 1280 (height-1)//8+1 (width-1)//8+1"] = F.silu(
            self.last_bn(self.last(seventh))
        )
        return last

    def forward_pool(self, features: Float[Tensor, "batch 1280 height width"]) -> Float[Tensor, "batch 1280"]:
        """Map features to one row per image: their mean over the pixels, with dropout."""
        return F.dropout(super().forward_pool(features), self.dropout, self.training)

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw as torchvision does: He normal convolutions and gates, a head in ±1/sqrt(num_classes)."""
        if module is self.head:
            bound = self.num_classes**-0.5
            init.uniform_(self.head.weight, -bound, bound, generator=generator)
            init.zeros_(self.head.bias)
        else:
            init_he(module, generator, mode="fan_out")
