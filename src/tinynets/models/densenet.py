"""DenseNet-BC: every layer sees the outputs of all layers before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_image_size, init_default, init_he
from ..module import Module
from .base import ImageClassifier, Stage
from .convert_weights import ForeignWeights, Renaming

# Names of public code on the left; ours on the right.
TORCHVISION_KEYS: Renaming = {
    r"^features\.": "",
    r"denselayer(\d+)": lambda match: f"layers.{int(match[1]) - 1}",
    r"^denseblock": "block",
    r"^norm5\.": "norm.",
    r"^conv0\.": "stem.",
    r"^classifier\.": "head.",
}
ANDREASVEIT_KEYS: Renaming = {
    r"^(block\d)\.layer\.": r"\1.layers.",
    r"^dense(\d)\.": r"block\1.layers.",
    r"(layers\.\d+)\.bn": r"\1.norm",
    r"^trans(\d)\.bn1\.": r"transition\1.norm.",
    r"^trans(\d)\.conv1\.": r"transition\1.conv.",
    r"^conv1\.": "stem.",
    r"^bn1?\.": "norm.",
    r"^fc\.": "head.",
}


class DenseLayer(Module):
    """`BatchNorm, ReLU, 1x1, BatchNorm, ReLU, 3x3`, whose few new channels are appended to the input.

    Args:
        in_channels: channels of the input.
        growth: channels that the layer adds; the 1x1 convolution has four times as many.
    """

    in_channels: int
    growth: int

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.growth = growth
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(
        self, inputs: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch in_channels+growth height width"]:
        """Append the new channels to the input."""
        active: Float[Tensor, "batch in_channels height width"] = F.relu(self.norm1(inputs), inplace=True)
        narrow: Float[Tensor, "batch 4*growth height width"] = F.relu(
            self.norm2(self.conv1(active)), inplace=True
        )
        found: Float[Tensor, "batch growth height width"] = self.conv2(narrow)
        return torch.cat((inputs, found), dim=1)


class DenseBlock(Module):
    """A chain of `DenseLayer`: `num_layers * growth` channels more, at the same size."""

    in_channels: int
    added: int

    def __init__(self, in_channels: int, *, growth: int, num_layers: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.added = growth * num_layers
        self.layers = nn.Sequential(
            *(DenseLayer(in_channels + i * growth, growth) for i in range(num_layers))
        )

    def forward(
        self, inputs: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch in_channels+added height width"]:
        """Append the new channels of every layer."""
        outputs: Float[Tensor, "batch in_channels+added height width"] = self.layers(inputs)
        return outputs


class Transition(Module):
    """`BatchNorm, ReLU, 1x1, average pooling`: half the channels, half the size."""

    in_channels: int

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)

    def forward(
        self, inputs: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch in_channels//2 height//2 width//2"]:
        """Halve channels and size."""
        active: Float[Tensor, "batch in_channels height width"] = F.relu(self.norm(inputs), inplace=True)
        narrow: Float[Tensor, "batch in_channels//2 height width"] = self.conv(active)
        return F.avg_pool2d(narrow, 2)


class DenseNetBC(ImageClassifier):
    """DenseNet-BC for small images; 769,162 parameters at depth 100 and growth 12.

    Images `[batch in_channels height width]`, at least 4x4, to logits `[batch num_classes]`; three blocks
    at strides 1, 2 and 4.

    "Densely Connected Convolutional Networks", arXiv 1608.06993, section 4.2: with bottlenecks,
    compression 0.5 and a stem of `2 growth` channels.

    Parity partner: torchvision. Differs from the paper: none.

    Args:
        depth: number of weighted layers, `6 n + 4`.
        growth: channels that a layer adds (k in the paper).
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    num_classes: int
    growth: int
    channels1: int
    channels2: int
    channels3: int

    def __init__(
        self,
        *,
        depth: int = 100,
        growth: int = 12,
        in_channels: int = 3,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(depth=depth, growth=growth, in_channels=in_channels, num_classes=num_classes)
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6n+4 with n >= 1, such as 40, 100 or 190, got {depth}")
        self.depth = depth
        self.growth = growth
        self.in_channels = in_channels
        self.num_classes = num_classes
        num_layers = (depth - 4) // 6  # each is two convolutions, in three blocks
        self.channels1 = 2 * growth + num_layers * growth
        self.channels2 = self.channels1 // 2 + num_layers * growth
        self.channels3 = self.channels2 // 2 + num_layers * growth
        self.stages = (
            Stage("block1", self.channels1, 1),
            Stage("block2", self.channels2, 2),
            Stage("block3", self.channels3, 4),
        )
        with torch.device("meta"):
            self.stem = nn.Conv2d(in_channels, 2 * growth, 3, padding=1, bias=False)
            self.block1 = DenseBlock(2 * growth, growth=growth, num_layers=num_layers)
            self.transition1 = Transition(self.channels1)
            self.block2 = DenseBlock(self.channels1 // 2, growth=growth, num_layers=num_layers)
            self.transition2 = Transition(self.channels2)
            self.block3 = DenseBlock(self.channels2 // 2, growth=growth, num_layers=num_layers)
            self.norm = nn.BatchNorm2d(self.channels3)
            self.head = nn.Linear(self.channels3, num_classes)
        self._allocate(generator)

    @classmethod
    def from_torchvision(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from weights of torchvision's `DenseNet` with three blocks and a bare 3x3 stem.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        return cls._from_layout(state_dict, TORCHVISION_KEYS)

    @classmethod
    def from_andreasveit(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from `DenseNet3` of densenet-pytorch, with bottlenecks.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        return cls._from_layout(state_dict, ANDREASVEIT_KEYS)

    @classmethod
    def from_bearpaw(cls, state_dict: Mapping[str, Tensor]) -> Self:
        """Build the model from `densenet` of pytorch-classification.

        Raises:
            CheckpointError: names or shapes do not fit; the message lists them.
        """
        return cls._from_layout(state_dict, ANDREASVEIT_KEYS)  # covers both names of a block

    @classmethod
    def _from_layout(cls, state_dict: Mapping[str, Tensor], renaming: Renaming) -> Self:
        weights = ForeignWeights(state_dict, renaming)
        return weights.build(
            cls,
            depth=6 * weights.count("block1.layers") + 4,
            growth=weights.shape("stem.weight", 4)[0] // 2,
            in_channels=weights.shape("stem.weight", 4)[1],
        )

    def forward(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch channels3 height//4 width//4"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch channels3 height//4 width//4"]:
        """Map images to the normalised and activated output of the last block."""
        check_image_size(self, images, 4, "halves its images twice")
        stem: Float[Tensor, "batch 2*growth height width"] = self.stem(images)
        first: Float[Tensor, "batch channels1 height width"] = self.block1(stem)
        half: Float[Tensor, "batch channels1//2 height//2 width//2"] = self.transition1(first)
        second: Float[Tensor, "batch channels2 height//2 width//2"] = self.block2(half)
        quarter: Float[Tensor, "batch channels2//2 height//4 width//4"] = self.transition2(second)
        third: Float[Tensor, "batch channels3 height//4 width//4"] = self.block3(quarter)
        active: Float[Tensor, "batch channels3 height//4 width//4"] = F.relu(self.norm(third), inplace=True)
        return active

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw He normal convolutions (fan-in), as torchvision does; the head gets torch's default.

        The authors' code uses fan-out and, like torchvision, starts the head's bias at 0.
        """
        if isinstance(module, nn.Linear):
            init_default(module, generator)
        else:
            init_he(module, generator, mode="fan_in")
