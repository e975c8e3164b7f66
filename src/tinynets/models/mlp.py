"""Perceptrons for small images, the first nets of every course.

`einops.rearrange`, and the wrappers around relu and dropout in `torch.nn.functional`, would take an eighth of
the time of such small nets for one image; so the code uses `flatten` and torch's own functions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..layers import check_at_least_one, check_probability, linear
from .base import ImageClassifier


class TinyVisionMLP(ImageClassifier):
    """Two-layer perceptron for 28x28 grey images; 203,530 parameters by default.

    Computes the same as `Flatten, Linear(784, hidden), ReLU, Dropout, Linear(hidden, num_classes)` with the
    same weights; the state dict has the keys `fc1.*` and `fc2.*`. Returns logits, not probabilities.

    Parity partner: plain layers.

    Args:
        hidden: width of the hidden layer.
        num_classes: width of the output.
        dropout: probability in [0, 1) of zeroing a hidden unit, in training mode only.
        generator: source of the initial weights; the global random state if None. The hidden layer is
            drawn first, so that its weights do not depend on `num_classes`.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    head_name = "fc2"
    hidden: int
    num_classes: int

    def __init__(
        self,
        *,
        hidden: int = 256,
        num_classes: int = 10,
        dropout: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(hidden=hidden, num_classes=num_classes)
        check_probability(dropout=dropout)
        self.hidden = hidden
        self.num_classes = num_classes
        self.dropout = dropout
        self.fc1 = linear(28 * 28, hidden, generator=generator)
        self.fc2 = linear(hidden, num_classes, generator=generator)

    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        flat: Float[Tensor, "batch 784"] = images.flatten(1)
        first: Float[Tensor, "batch hidden"] = torch.relu(self.fc1(flat))
        kept: Float[Tensor, "batch hidden"] = torch.dropout(first, self.dropout, self.training)
        logits: Float[Tensor, "batch num_classes"] = self.fc2(kept)
        return logits

    def forward_features(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch hidden"]:
        """Map images to the hidden layer's output."""
        # Repeats the lines of `forward`, as a test ensures: so `forward` is complete in itself, and saves a
        # call, 4 % of the time of such a small net.
        flat: Float[Tensor, "batch 784"] = images.flatten(1)
        first: Float[Tensor, "batch hidden"] = torch.relu(self.fc1(flat))
        kept: Float[Tensor, "batch hidden"] = torch.dropout(first, self.dropout, self.training)
        return kept

    def forward_pool(self, features: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """Return the features: there are no pixels left to pool."""
        return features


class CifarMLP(ImageClassifier):
    """Three-layer perceptron for 32x32 RGB images.

    `Flatten, Linear(3072, hidden1), ReLU, Dropout, Linear(hidden1, hidden2), ReLU, Dropout,
    Linear(hidden2, num_classes)`; the state dict has the keys `fc1.*`, `fc2.*` and `fc3.*`. Returns logits.

    Parity partner: plain layers.

    Args:
        hidden1: width of the first hidden layer.
        hidden2: width of the second hidden layer.
        num_classes: width of the output.
        dropout: probability in [0, 1) of zeroing a hidden unit, in training mode only.
        generator: source of the initial weights; the global random state if None. The output layer is
            drawn last, so that the others do not depend on `num_classes`.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    head_name = "fc3"
    hidden1: int
    hidden2: int
    num_classes: int

    def __init__(
        self,
        *,
        hidden1: int = 512,
        hidden2: int = 256,
        num_classes: int = 10,
        dropout: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_at_least_one(hidden1=hidden1, hidden2=hidden2, num_classes=num_classes)
        check_probability(dropout=dropout)
        self.hidden1 = hidden1
        self.hidden2 = hidden2
        self.num_classes = num_classes
        self.dropout = dropout
        self.fc1 = linear(3 * 32 * 32, hidden1, generator=generator)
        self.fc2 = linear(hidden1, hidden2, generator=generator)
        self.fc3 = linear(hidden2, num_classes, generator=generator)

    def forward(self, images: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch num_classes"]:
        """Map images to logits."""
        flat: Float[Tensor, "batch 3072"] = images.flatten(1)
        first: Float[Tensor, "batch hidden1"] = torch.relu(self.fc1(flat))
        first_kept: Float[Tensor, "batch hidden1"] = torch.dropout(first, self.dropout, self.training)
        second: Float[Tensor, "batch hidden2"] = torch.relu(self.fc2(first_kept))
        second_kept: Float[Tensor, "batch hidden2"] = torch.dropout(second, self.dropout, self.training)
        logits: Float[Tensor, "batch num_classes"] = self.fc3(second_kept)
        return logits

    def forward_features(self, images: Float[Tensor, "batch 3 32 32"]) -> Float[Tensor, "batch hidden2"]:
        """Map images to the last hidden layer's output."""
        flat: Float[Tensor, "batch 3072"] = images.flatten(1)
        first: Float[Tensor, "batch hidden1"] = torch.relu(self.fc1(flat))
        first_kept: Float[Tensor, "batch hidden1"] = torch.dropout(first, self.dropout, self.training)
        second: Float[Tensor, "batch hidden2"] = torch.relu(self.fc2(first_kept))
        second_kept: Float[Tensor, "batch hidden2"] = torch.dropout(second, self.dropout, self.training)
        return second_kept

    def forward_pool(self, features: Float[Tensor, "batch hidden2"]) -> Float[Tensor, "batch hidden2"]:
        """Return the features: there are no pixels left to pool."""
        return features
