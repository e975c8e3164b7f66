"""The convolutional network of PyTorch's own MNIST example."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import check_at_least_one, check_probability, init_default
from .base import ImageClassifier, Stage


class MnistCnn(ImageClassifier):
    """Two convolutions, one pooling and two linear layers; 1,199,882 parameters for 28x28 grey images.

    Images `[batch in_channels image_size image_size]` to logits `[batch num_classes]`.

    The net of `mnist/main.py` in pytorch/examples, without its log-softmax: `cross_entropy` of the logits is
    equal to the `nll_loss` there.

    Parity partner: reference in the test. Differs from the paper: logits, not their log-softmax.

    Args:
        image_size: height and width of the images, 6 at least.
        dropout: probability in [0, 1) of zeroing a value of the pooled maps, in training mode only.
        head_dropout: the same for the values before the last layer.
        in_channels: channels of the images.
        num_classes: width of the output.
        generator: source of the initial weights; the global random state if None.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    head_name = "fc2"
    in_channels: int
    image_size: int
    num_classes: int
    side: int
    stages = (Stage("conv1", 32, 1), Stage("conv2", 64, 1))

    def __init__(
        self,
        *,
        image_size: int = 28,
        dropout: float = 0.25,
        head_dropout: float = 0.5,
        in_channels: int = 1,
        num_classes: int = 10,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(image_size=image_size, in_channels=in_channels, num_classes=num_classes)
        check_probability(dropout=dropout, head_dropout=head_dropout)
        if image_size < 6:
            raise ValueError(f"image_size must be at least 6, so that a pixel is left, got {image_size}")
        self.image_size = image_size
        self.dropout = dropout
        self.head_dropout = head_dropout
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.side = (image_size - 4) // 2
        with torch.device("meta"):
            self.conv1 = nn.Conv2d(in_channels, 32, 3)
            self.conv2 = nn.Conv2d(32, 64, 3)
            self.fc1 = nn.Linear(64 * self.side**2, 128)
            self.fc2 = nn.Linear(128, num_classes)
        self._allocate(generator)

    def forward(
        self, images: Float[Tensor, "batch in_channels image_size image_size"]
    ) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        features: Float[Tensor, "batch 64 side side"] = self.forward_features(images)
        logits: Float[Tensor, "batch num_classes"] = self.forward_head(features)
        return logits

    def forward_features(
        self, images: Float[Tensor, "batch in_channels image_size image_size"]
    ) -> Float[Tensor, "batch 64 side side"]:
        """Map images to the pooled output of the second convolution, with dropout."""
        first: Float[Tensor, "batch 32 image_size-2 image_size-2"] = F.relu(self.conv1(images), inplace=True)
        second: Float[Tensor, "batch 64 image_size-4 image_size-4"] = F.relu(self.conv2(first), inplace=True)
        pooled: Float[Tensor, "batch 64 side side"] = F.max_pool2d(second, 2)
        kept: Float[Tensor, "batch 64 side side"] = F.dropout(pooled, self.dropout, self.training)
        return kept

    def forward_pool(self, features: Float[Tensor, "batch 64 side side"]) -> Float[Tensor, "batch 128"]:
        """Map features to one row per image: a linear layer over all pixels, with dropout."""
        flat: Float[Tensor, "batch 64*side*side"] = features.flatten(1)
        hidden: Float[Tensor, "batch 128"] = F.relu(self.fc1(flat), inplace=True)
        return F.dropout(hidden, self.head_dropout, self.training)

    def init_module(self, module: nn.Module, generator: torch.Generator | None) -> None:
        """Draw torch's defaults, as the source does."""
        init_default(module, generator)
