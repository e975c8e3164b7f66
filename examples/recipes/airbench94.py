"""airbench94: 94 % on CIFAR-10 in 9.9 epochs; fast because of few steps, with all images on the device.

A whitened first layer whose bias is trained for three epochs, alternating flips, a triangular learning
rate that is larger for the biases of batch norms, lookahead, and six views of each image at the end.
"""

from __future__ import annotations

import argparse
import math

import torch
import torch.nn.functional as F
from recipe import Data, Recipe, run
from torch import Tensor
from torchvision.transforms import v2

import tinynets as tn
from tinynets.models import Airbench94Net, ImageClassifier

EPOCHS, BATCH, WHITENING_BIAS_EPOCHS = 9.9, 1024, 3
MOMENTUM = 0.85
# A Nesterov step is 1 + 1 / (1 - momentum) gradients long, and the rates are for 1,024 images.
SCALE = 1024 * (1 + 1 / (1 - MOMENTUM))
RATE, DECAY = 11.5 / SCALE, 0.0153 * BATCH / SCALE
BIAS_FACTOR = 64.0
LOOKAHEAD_STEPS = 5


def optimizer(model: ImageClassifier) -> torch.optim.SGD:
    """Return SGD with a higher rate for batch-norm biases and a weight decay independent of the rate."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    biases = [p for name, p in trained.items() if "norm" in name]
    others = [p for name, p in trained.items() if "norm" not in name]
    groups = [
        {"params": biases, "lr": RATE * BIAS_FACTOR, "weight_decay": DECAY / (RATE * BIAS_FACTOR)},
        {"params": others, "lr": RATE, "weight_decay": DECAY / RATE},
    ]
    return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)


def triangle(optimizer: torch.optim.Optimizer, steps: int, epochs: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Rise from a fifth for 23 % of the steps, then fall to 7 %."""
    total = steps * epochs
    top = max(1, int(0.23 * total))

    def rate(step: int) -> float:
        return 0.2 + 0.8 * step / top if step < top else 1 - 0.93 * (step - top) / max(1, total - top)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


RECIPE = Recipe(
    model="airbench94",
    accuracy="94.01 %",
    source="KellerJordan/cifar10-airbench, legacy/airbench94.py: the mean of 1,000 runs",
    epochs=10,
    batch_size=BATCH,
    augment=[],
    optimizer=optimizer,
    schedule=triangle,
    label_smoothing=0.2,
)


def train(recipe: Recipe, model: ImageClassifier, data: Data, options: argparse.Namespace) -> float:
    """Train as the repository does, instead of with the loop that the other recipes share."""
    assert isinstance(model, Airbench94Net)
    normalize = v2.Normalize(recipe.normalization.mean, recipe.normalization.std)
    images, labels = normalize(data.train_images).to(options.device), data.train_labels.to(options.device)
    model.init_whitening(images[:5000])
    model.to(memory_format=torch.channels_last)
    flips = torch.rand(len(images), 1, 1, 1, device=options.device) < 0.5
    padded = F.pad(torch.where(flips, images.flip(-1), images), (2, 2, 2, 2), "reflect")

    size = min(BATCH, len(images))
    steps = len(images) // size
    total = math.ceil(steps * (EPOCHS if options.epochs == recipe.epochs else options.epochs))
    optimizer = recipe.optimizer(model)
    schedule = recipe.schedule(optimizer, total, 1)
    slow = {name: value.clone() for name, value in model.state_dict().items() if value.is_floating_point()}
    step, loss = 0, torch.tensor(0.0)
    for epoch in range(options.epochs):
        model.whitening.bias.requires_grad_(epoch < WHITENING_BIAS_EPOCHS)
        shown = shifted(padded)
        shown = shown.flip(-1) if epoch % 2 else shown
        order = torch.randperm(len(shown), device=options.device)
        with tn.training(model):
            for batch in order.split(size)[: min(steps, total - step)]:
                with torch.autocast(options.device.type, torch.bfloat16, enabled=options.bfloat16):
                    inputs = shown[batch].contiguous(memory_format=torch.channels_last)
                    loss = F.cross_entropy(
                        model(inputs), labels[batch], label_smoothing=recipe.label_smoothing, reduction="sum"
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                step += 1
                if step % LOOKAHEAD_STEPS == 0:
                    look_ahead(model, slow, keep=0.95**LOOKAHEAD_STEPS * (step / total) ** 3)
        print(f"epoch {epoch + 1:3}   loss {loss.item() / size:.4f}", flush=True)
    look_ahead(model, slow, keep=1.0)
    model.save(options.out)
    held_out = normalize(data.held_out_images).to(options.device)
    with tn.inference(model):
        predicted = torch.cat([six_views(model, part).argmax(1).cpu() for part in held_out.split(2000)])
    return (predicted == data.held_out_labels).float().mean().item()


def shifted(padded: Tensor) -> Tensor:
    """Crop 32x32 pixels from each padded image, at a different random position."""
    most = padded.shape[-1] - 32
    down, right = torch.randint(most + 1, (2, len(padded)), device=padded.device)
    places = torch.arange(32, device=padded.device)
    rows, columns = down[:, None] + places, right[:, None] + places
    images = torch.arange(len(padded), device=padded.device)[:, None, None, None]
    channels = torch.arange(3, device=padded.device)[None, :, None, None]
    return padded[images, channels, rows[:, None, :, None], columns[:, None, None, :]]


def look_ahead(model: ImageClassifier, slow: dict[str, Tensor], *, keep: float) -> None:
    """Interpolate the slow weights towards the model's, then copy them into the model."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name in slow:
                slow[name].lerp_(value, 1 - keep)
                value.copy_(slow[name])


def six_views(model: ImageClassifier, images: Tensor) -> Tensor:
    """Average the logits of an image, its shifts by a pixel both ways, and the mirror images of all three."""

    def mirrored(views: Tensor) -> Tensor:
        return (model(views) + model(views.flip(-1))) / 2

    padded = F.pad(images, (1, 1, 1, 1), "reflect")
    moved = (mirrored(padded[..., :32, :32]) + mirrored(padded[..., 2:, 2:])) / 2
    return (mirrored(images) + moved) / 2


if __name__ == "__main__":
    raise SystemExit(run(RECIPE, training=train))
