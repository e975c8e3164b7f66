"""ConvMixer: a depthwise and a pointwise convolution in turn, on patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size, init_default
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights, Renaming

# Names of timm, and of the authors, whose net is one chain of layers, on the left; ours on the right.
TIMM_KEYS: Renaming = {
    r"^stem\.0\.": "patches.",
    r"^stem\.2\.": "patches_bn.",
    r"\.0\.fn\.0\.": ".depthwise.",
    r"\.0\.fn\.2\.": ".depthwise_bn.",
    r"^(blocks\.\d+)\.1\.": r"\1.pointwise.",
    r"^(blocks\.\d+)\.3\.": r"\1.pointwise_bn.",
}
LOCUSLAB_KEYS: Renaming = {
    r"^0\.(?=\w+$)": "patches.",
    r"^2\.(?=\w+$)": "patches_bn.",
    r"^\d+\.(?=\w+$)": "head.",
    r"^(\d+)\.(?=\d)": lambda match: f"blocks.{int(match[1]) - 3}.",
    **TIMM_KEYS,
}


class ConvMixerBlock(Module):
    """A depthwise convolution with a residual connection, then a 1x1 convolution."""

    channels: int

    def __init__(self, channels: int, *, kernel_size: int) -> None:
        super().__init__()
        self.channels = channels
        # Odd kernels only, so this is padding="same" without its slower path.
        self.depthwise = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.depthwise_bn = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.pointwise_bn = nn.BatchNorm2d(channels)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Mix over positions, then over channels."""
        places: Float[Tensor, "batch channels height width"] = self.depthwise_bn(
            F.gelu(self.depthwise(inputs))
        )
        middle: Float[Tensor, "batch channels height width"] = places.add_(inputs)
        outputs: Float[Tensor, "batch channels height width"] = self.pointwise_bn(
            F.gelu(self.pointwise(middle))
        )
        return outputs


class ConvMixer(ImageClassifier):
    """ConvMixer-256/8 for small images; 594,186 parameters with 5x5 kernels and 2x2 patches.

    Images `[batch in_channels height width]`, of any size from one patch up, to logits
    `[batch num_classes]`; every block works on maps at stride `patch_size`. Pixels at the right and lower
    edge that do not fill a patch are ignored.

    "Patches Are All You Need?", arXiv 2201.09792, in the order of the paper's code: convolution, GELU,
    BatchNorm.

    Parity partner: timm. Differs from the paper: none.

    Args:
        channels: channels of every block.
        depth: number of blocks.
        kernel_size: height and width of the depthwise kernels; odd.
        patch_size: height and width of a patch.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    channels: int

    def __init__(
        self,
        *,
        channels: int = 256,
        depth: int = 8,
        kernel_size: int = 5,
        patch_size: int = 2,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(channels=channels, depth=depth, kernel_size=kernel_size, patch_size=patch_size)
        check_at_least_one(in_channels=in_channels, num_classes=num_classes)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        self.channels = channels
        self.depth = depth
        self.kernel_size = kernel_size
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.num_classes = num_classes
        with torch.device("meta"):
            self.patches = nn.Conv2d(in_channels, channels, patch_size, patch_size)
            self.patches_bn = nn.BatchNorm2d(channels)
            self.blocks = nn.Sequential(
                *(ConvMixerBlock(channels, kernel_size=kernel_size) for _ in range(depth))
            )
            self.head = nn.Linear(channels, num_classes)
        self.stages = tuple(Stage(f"blocks.{i}", channels, patch_size) for i in range(depth))
        self._allocate(generator)

    @classmethod
    def from_timm(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of timm's `ConvMixer`, with GELU.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        return cls._from_layout(state_dict, TIMM_KEYS)

    @classmethod
    def from_locuslab(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of the authors' `ConvMixer`.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        return cls._from_layout(state_dict, LOCUSLAB_KEYS)

    @classmethod
    def _from_layout(cls, state_dict: Mapping[str, Tensor], renaming: Renaming) -> Self:
        weights = ForeignWeights(state_dict, renaming)
        channels, in_channels, patch_size, _ = weights.shape("patches.weight", 4)
        return weights.build(
            cls,
            channels=channels,
            depth=weights.count("blocks"),
            kernel_size=weights.shape("blocks.0.depthwise.weight", 4)[-1],
            patch_size=patch_size,
            in_channels=in_channels,
        )

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch channels rows columns"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Map images to the output of the last block."""
        check_image_size(self, images, self.patch_size, "cuts its images into patches")
        patches: Float[Tensor, "batch channels rows columns"] = self.patches_bn(F.gelu(self.patches(images)))
        mixed: Float[Tensor, "batch channels rows columns"] = self.blocks(patches)
        return mixed

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw torch's defaults, as the paper's code does."""
        init_default(module, generator)
