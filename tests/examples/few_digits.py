"""What the distributed tests train: small models on a few random digits, so that the time goes into starting processes."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import train_distributed
from data import Data
from digits import build as build_for_digits

import tinynets as tn
from tinynets.models import ImageClassifier

BATCH = 16
NUM_IMAGES = 3 * BATCH + 1  # the last batch of an epoch is one image, so that all but one process get none
EPOCHS = 2
STEPS = EPOCHS * 4


def digits(*, seed: int) -> Data:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(NUM_IMAGES + 21, 1, 28, 28, generator=generator)
    labels = torch.randint(10, (len(images),), generator=generator)
    return Data(
        images[:NUM_IMAGES], labels[:NUM_IMAGES], images[NUM_IMAGES:], labels[NUM_IMAGES:], "0123456789"
    )


def build(name: str, images: torch.Tensor) -> ImageClassifier:
    if name == "simple_vit":
        sizes = {"patch_size": 7, "embed_dim": 16, "depth": 2, "num_heads": 2, "hidden": 32}
        return tn.models.SimpleViT(image_size=28, in_channels=1, **sizes)
    return build_for_digits(name, images)


def settings(folder: Path) -> list[str]:
    """What the script is given: settings that suit few digits, and what this process was given."""
    common = ["--batch-size", BATCH, "--epochs", EPOCHS, "--save-every", 3, "--out", folder]
    return [*map(str, common), *sys.argv[3:]]


def prepare() -> None:
    """Have the script train small models on few digits."""
    train_distributed.load_digits = digits
    train_distributed.build = build
