"""LeNet-5, the first convolutional network that most people write."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, init_default
from .base import ImageClassifier, Stage


class LeNet5(ImageClassifier):
    """Two convolutions and three linear layers; 61,706 parameters for 28x28 grey images.

    Images `[batch in_channels image_size image_size]` to logits `[batch num_classes]`.

    "Gradient-Based Learning Applied to Document Recognition", LeCun et al. 1998 (no arXiv id), in its
    modern form: every filter sees every channel, ReLU for tanh, max pooling for trained subsampling, linear
    logits for radial basis functions. Images of 28 pixels are padded to 32, the paper's input size.

    Parity partner: reference in the test. Differs from the paper: ReLU, max pooling, full connections, linear
    output.

    Args:
        image_size: height and width of the images, 16 at least.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    in_channels: int
    image_size: int
    num_classes: int
    side1: int
    side2: int
    stages = (Stage("conv1", 6, 1), Stage("conv2", 16, 2))

    def __init__(
        self,
        *,
        image_size: int = 28,
        in_channels: int = 1,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(image_size=image_size, in_channels=in_channels, num_classes=num_classes)
        if image_size < 16:
            raise ValueError(f"image_size must be at least 16, so that a pixel is left, got {image_size}")
        self.image_size = image_size
        self.in_channels = in_channels
        self.num_classes = num_classes
        padding = 2 if image_size == 28 else 0
        self.side1 = (image_size + 2 * padding - 4) // 2
        self.side2 = (self.side1 - 4) // 2
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc1 = nn.Linear(16 * self.side2**2, 120)
            self.fc2 = nn.Linear(120, 84)
            self.head = nn.Linear(84, num_classes)
        self._allocate(generator)

    def forward(
        self, images: Float[Tensor, "batch in_channels image_size image_size"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        # As in `forward_head`, without the call: that is 1 % of the time of such a small net at batch 1, and
        # so are the wrappers F.relu and F.max_pool2d below, or einops.rearrange for `flatten`.
        features: Float[Tensor, "batch 16 side2 side2"] = self.forward_features(images)
        hidden: Float[Tensor, "batch 84"] = self.forward_pool(features)
        logits: Float[Tensor, "batch num_classes"] = self.head(hidden)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels image_size image_size"]
    ) -> Float[Tensor, "batch 16 side2 side2"]:
        """Map images to the pooled output of the second convolution."""
        first: Float[Tensor, "batch 6 side1 side1"] = torch.max_pool2d(self.conv1(images).relu_(), 2)
        second: Float[Tensor, "batch 16 side2 side2"] = torch.max_pool2d(self.conv2(first).relu_(), 2)
        return second

    def forward_pool(self, features: Float[Tensor, "batch 16 side2 side2"]) -> Float[Tensor, "batch 84"]:
        """Map features to one row per image: two linear layers over all pixels."""
        flat: Float[Tensor, "batch 16*side2*side2"] = features.flatten(1)
        third: Float[Tensor, "batch 120"] = self.fc1(flat).relu_()
        fourth: Float[Tensor, "batch 84"] = self.fc2(third).relu_()
        return fourth

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw torch's defaults; the paper's uniform range of 2.4/fan_in is for its tanh."""
        init_default(module, generator)
