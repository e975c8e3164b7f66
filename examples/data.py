"""Labelled images, in a part to train on and a part held out, and the shift that augments a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Data:
    """Images as floats in [0, 1], `[count, channels, height, width]`, with one label each."""

    train_images: Tensor
    train_labels: Tensor
    held_out_images: Tensor
    held_out_labels: Tensor
    class_names: Sequence[str]

    def to(self, device: torch.device | str) -> Data:
        """Return a copy on a device; the data sets are small enough to fit there whole."""
        tensors = (self.train_images, self.train_labels, self.held_out_images, self.held_out_labels)
        return Data(*(tensor.to(device) for tensor in tensors), self.class_names)


def shifted(images: Tensor) -> Tensor:
    """Shift a whole batch by up to two pixels, so that the model cannot memorize positions."""
    right, down = torch.randint(-2, 3, (2,)).tolist()
    return F.pad(images, (right, -right, down, -down))  # a negative pad crops
