"""ConvNeXt: depthwise 7x7 convolutions and perceptrons over the channels, as in a transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import init

from ..layers import check_at_least_one, check_image_size, init_normal
from ..layers.attention import FeedForward
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights, Renaming

# Atto: channels and blocks of each stage.
STAGES = ((40, 2), (80, 2), (160, 6), (320, 2))
# timm's names on the left; ours on the right.
TIMM_KEYS: Renaming = {
    r"^stem\.0\.": "patches.",
    r"^stem\.1\.": "patches_norm.norm.",
    r"^stages\.(\d)\.": lambda match: f"stage{int(match[1]) + 1}.",
    r"\.downsample\.0\.": ".norm.norm.",
    r"\.downsample\.1\.": ".conv.",
    r"\.conv_dw\.": ".depthwise.",
    r"\.gamma$": ".scale",
    r"^head\.norm\.": "norm.",
    r"^head\.fc\.": "head.",
}


class ChannelNorm(Module):
    """LayerNorm over the channels of a map, at each position."""

    channels: int

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise each position."""
        # Written out: a layer norm between two transposes leaves strides that are ambiguous for a single
        # image, so that an exported program would reject it.
        centred: Float[Tensor, "batch channels height width"] = inputs - inputs.mean(1, keepdim=True)
        variance: Float[Tensor, "batch 1 height width"] = centred.square().mean(1, keepdim=True)
        normed: Float[Tensor, "batch channels height width"] = centred * (variance + self.norm.eps).rsqrt()
        return normed * self.norm.weight[:, None, None] + self.norm.bias[:, None, None]


class ConvNextBlock(Module):
    """`depthwise 7x7, LayerNorm, perceptron over channels`, scaled, with a residual connection."""

    channels: int

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = FeedForward(channels, 4 * channels)
        self.scale = nn.Parameter(torch.empty(channels))

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Mix over positions, then over channels."""
        filtered: Float[Tensor, "batch channels height width"] = self.depthwise(inputs)
        places: Float[Tensor, "batch height*width channels"] = rearrange(filtered, "b c h w -> b (h w) c")
        mixed: Float[Tensor, "batch height*width channels"] = self.mlp(self.norm(places)) * self.scale
        outputs: Float[Tensor, "batch channels height width"] = inputs + rearrange(
            mixed, "b (h w) c -> b c h w", h=inputs.shape[2]
        )
        return outputs


class ConvNextStage(Module):
    """A 2x2 convolution that halves the size, if the channels change; then blocks."""

    in_channels: int
    channels: int
    step: int

    def __init__(self, in_channels: int, channels: int, *, num_blocks: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.channels = channels
        self.step = 1
        self.conv: nn.Conv2d | None = None
        if in_channels != channels:
            self.step = 2
            self.norm = ChannelNorm(in_channels)
            self.conv = nn.Conv2d(in_channels, channels, 2, 2)
        self.blocks = nn.Sequential(*(ConvNextBlock(channels) for _ in range(num_blocks)))

    def forward(
        self, inputs: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels height//step width//step"]:
        """Halve the size, and convolve."""
        smaller: Float[Tensor, "batch channels height//step width//step"] = (
            inputs if self.conv is None else self.conv(self.norm(inputs))
        )
        outputs: Float[Tensor, "batch channels height//step width//step"] = self.blocks(smaller)
        return outputs


class ConvNextAttoCifar(ImageClassifier):
    """ConvNeXt-Atto with 2x2 patches for small images; 3,376,290 parameters.

    Images `[batch in_channels height width]`, at least 16x16, to logits `[batch num_classes]`; four stages of
    40, 80, 160 and 320 channels at strides 2, 4, 8 and 16. Pixels at the right and lower edge that do not
    fill a patch are ignored.

    "A ConvNet for the 2020s", arXiv 2201.03545, at the size that timm calls atto.

    Parity partner: timm. Differs from the paper: timm's size, 2x2 patches.

    Args:
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    stages = tuple(Stage(f"stage{i + 1}", STAGES[i][0], 2 ** (i + 1)) for i in range(4))

    def __init__(
        self, *, in_channels: int = 3, num_classes: int = 10, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        self.num_classes = num_classes
        (one, two, three, four) = STAGES
        with torch.device("meta"):
            self.patches = nn.Conv2d(in_channels, one[0], 2, 2)
            self.patches_norm = ChannelNorm(one[0])
            self.stage1 = ConvNextStage(one[0], one[0], num_blocks=one[1])
            self.stage2 = ConvNextStage(one[0], two[0], num_blocks=two[1])
            self.stage3 = ConvNextStage(two[0], three[0], num_blocks=three[1])
            self.stage4 = ConvNextStage(three[0], four[0], num_blocks=four[1])
            self.norm = nn.LayerNorm(four[0], eps=1e-6)
            self.head = nn.Linear(four[0], num_classes)
        self._allocate(generator)

    @classmethod
    def from_timm(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of timm's `convnext_atto` whose patches are 2x2.

        Raises:
            CheckpointError: names or shapes do not fit, such as the 4x4 patches for large images.
        """
        weights = ForeignWeights(state_dict, TIMM_KEYS)
        weights.flatten(r"\.mlp\.fc\d\.weight$")
        return weights.build(cls, in_channels=weights.shape("patches.weight", 4)[1])

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 320 height//16 width//16"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch 320 height//16 width//16"]:
        """Map images to the output of the last stage."""
        check_image_size(self, images, 16, "halves its images four times")
        patches: Float[Tensor, "batch 40 height//2 width//2"] = self.patches_norm(self.patches(images))
        first: Float[Tensor, "batch 40 height//2 width//2"] = self.stage1(patches)
        second: Float[Tensor, "batch 80 height//4 width//4"] = self.stage2(first)
        third: Float[Tensor, "batch 160 height//8 width//8"] = self.stage3(second)
        fourth: Float[Tensor, "batch 320 height//16 width//16"] = self.stage4(third)
        return fourth

    def forward_pool(self, features: Float[Tensor, "batch 320 height width"]) -> Float[Tensor, "batch 320"]:
        """Map features to one row per image: their mean over the pixels, normalised."""
        pooled: Float[Tensor, "batch 320"] = features.mean((2, 3))
        return self.norm(pooled)

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw weights of standard deviation 0.02, like the authors; blocks start close to the identity."""
        if isinstance(module, ConvNextBlock):
            init.constant_(module.scale, 1e-6)
        else:
            init_normal(module, generator, std=0.02)
