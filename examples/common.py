"""Code that the training scripts share: the loop, the demonstrations and the files that they write."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

import tinynets as tn
from tinynets.models import ImageClassifier


class ScriptError(Exception):
    """An error that ends the script in one line: what is wrong, and what to do about it."""


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


class Epoch(NamedTuple):
    loss: float
    held_out_accuracy: float


def run(
    load: Callable[[], Data], build: Callable[[Data], ImageClassifier], options: argparse.Namespace
) -> int:
    """Train and evaluate a model for the data, write the files, and return the exit code of the script."""
    weights: Path = options.out / "weights.safetensors"
    history: list[Epoch] = []
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        data = load()
        torch.manual_seed(options.seed)  # initial weights, order of the images, shifts and dropout
        model = build(data).to(options.device)
        data = data.to(options.device)
        train(model, data, options, history, weights)

        logits = infer(model, data.held_out_images)
        predicted = logits.argmax(dim=1)
        right = int((predicted == data.held_out_labels).sum())
        print(f"\nHeld-out accuracy: {right / len(predicted):.4f} ({right} of {len(predicted)} right)\n")
        show_refusal(model, data.held_out_images[:32])
        show_dropout(model, data.held_out_images[:32])

        again = tn.load(weights).to(options.device)
        if not torch.equal(infer(again, data.held_out_images), logits):
            raise ScriptError(f"{weights} does not give the outputs of the model that was saved to it")
        print(f"Wrote {weights} (reloaded: same outputs, bit for bit)")
        picture = options.out / "report.png"
        write_whole(picture, draw(data.to("cpu"), logits.cpu(), history))
        print(f"Wrote {picture}")
    except KeyboardInterrupt:
        kept = (
            f"{weights} holds the weights after epoch {len(history)}" if history else "no epoch was finished"
        )
        print(f"Interrupted: {kept}.", file=sys.stderr)
        return 130  # the exit code of a shell for a command ended by Ctrl-C
    except (ScriptError, tn.CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def train(
    model: ImageClassifier, data: Data, options: argparse.Namespace, history: list[Epoch], weights: Path
) -> None:
    """Train for `options.epochs`; after each, evaluate, save a checkpoint and append to `history`."""
    num_images = len(data.train_images)
    num_batches = math.ceil(num_images / options.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * num_batches)

    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=options.epochs * num_batches)
        for epoch in range(1, options.epochs + 1):
            total_loss = 0.0
            with tn.training(model):
                for batch in torch.randperm(num_images).split(options.batch_size):
                    with torch.autocast(options.device.type, torch.bfloat16, enabled=options.bfloat16):
                        logits = model(shifted(data.train_images[batch]))
                        loss = F.cross_entropy(logits, data.train_labels[batch])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    total_loss += loss.item() * len(batch)
                    progress.advance(task)

            if not math.isfinite(total_loss):
                raise ScriptError(
                    f"the loss became {total_loss} in epoch {epoch}; try a lower --learning-rate"
                )
            predicted = infer(model, data.held_out_images).argmax(dim=1)
            accuracy = (predicted == data.held_out_labels).float().mean().item()
            model.save(weights)
            history.append(Epoch(total_loss / num_images, accuracy))
            print(f"epoch {epoch:3}   loss {history[-1].loss:.4f}   held-out accuracy {accuracy:.4f}")


def infer(model: tn.Module, images: Tensor) -> Tensor:
    """Return the logits of many images, computed a thousand at a time."""
    with tn.inference(model):
        return torch.cat([model(part) for part in images.split(1000)])


def shifted(images: Tensor) -> Tensor:
    """Shift a whole batch by up to two pixels, so that the model cannot memorize positions."""
    right, down = torch.randint(-2, 3, (2,)).tolist()
    return F.pad(images, (right, -right, down, -down))  # a negative pad crops


def show_refusal(model: tn.Module, images: Tensor) -> None:
    """Call the model with channels-last images, which a perceptron without a contract accepts silently."""
    channels_last = rearrange(images, "b c h w -> b h w c")
    try:
        infer(model, channels_last)
    except tn.ContractError as error:
        print(f"A wrong input is refused:\n{type(error).__name__}: {error}\n")
    else:
        raise AssertionError("the model took channels-last images")


def show_dropout(model: tn.Module, images: Tensor) -> None:
    """Call a model that has dropout twice in each mode: only the training calls differ."""
    with tn.training(model), torch.no_grad():
        in_training = (model(images) - model(images)).abs().max().item()
    if in_training == 0:
        return  # this model has none
    with tn.inference(model):
        in_inference = (model(images) - model(images)).abs().max().item()
    print("Largest difference between the logits of two calls on the same images (dropout):")
    print(f"  in training {in_training:.4f}, in inference {in_inference:.4f}\n")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: `path` has the old content or the new, never a part of it."""
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def draw(data: Data, logits: Tensor, history: Sequence[Epoch]) -> bytes:
    """Draw the loss curve beside a grid of held-out images, mistakes framed in red, as PNG."""
    figure = Figure(figsize=(15, 7), layout="constrained")
    curve_part, grid_part = figure.subfigures(1, 2, width_ratios=(2, 3))

    loss_axes, accuracy_axes = curve_part.subplots(2, 1, sharex=True)
    epochs = range(1, len(history) + 1)
    losses = [epoch.loss for epoch in history]
    loss_axes.plot(epochs, losses, marker=".", color="tab:blue")
    loss_axes.fill_between(epochs, losses, color="tab:blue", alpha=0.1)
    loss_axes.set(title="Training loss", ylabel="mean cross-entropy", ylim=(0, None))
    accuracy_axes.plot(epochs, [epoch.held_out_accuracy for epoch in history], marker=".", color="tab:green")
    accuracy_axes.set(
        title=f"Held-out accuracy: {history[-1].held_out_accuracy:.4f} in the end",
        xlabel="epoch",
        ylabel="share of images right",
    )
    accuracy_axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in (loss_axes, accuracy_axes):
        axes.grid(alpha=0.3)

    # Three rows in order, then one of the mistakes with the highest confidence.
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    wrong = (predicted != data.held_out_labels).nonzero().flatten()
    surest = wrong[confidence[wrong].argsort(descending=True)][:8].tolist()
    grid_part.suptitle("Held-out images; last row: the mistakes that the model was surest of")
    for axes in grid_part.subplots(4, 8).flat:
        axes.axis("off")
    for place, index in [*enumerate(range(min(24, len(logits)))), *enumerate(surest, start=24)]:
        names = [data.class_names[int(labels[index])] for labels in (predicted, data.held_out_labels)]
        draw_image(grid_part.axes[place], data.held_out_images[index], *names)

    png = io.BytesIO()
    figure.savefig(png, dpi=100)
    return png.getvalue()


def draw_image(axes: Axes, image: Tensor, predicted: str, true: str) -> None:
    """Show one image under its predicted and true class; mistakes in red."""
    axes.axis("on")
    axes.set(xticks=[], yticks=[])
    axes.imshow(rearrange(image, "c h w -> h w c").numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes.set_title(f"{predicted}\ntrue: {true}", fontsize=10, color="black" if predicted == true else "red")
    if predicted != true:
        for side in axes.spines.values():
            side.set(edgecolor="red", linewidth=3)


def parser(
    description: str | None, *, out: str, epochs: int, learning_rate: float
) -> argparse.ArgumentParser:
    """Build the parser of the scripts; its errors name the option whose value is out of range."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("--out", type=Path, default=Path(out), help="folder for weights and picture")
    options.add_argument("--epochs", type=at_least(1), default=epochs, help="passes over the training images")
    options.add_argument("--seed", type=at_least(0), default=0, help="makes two runs on one machine the same")
    options.add_argument("--batch-size", type=at_least(1), default=64, help="images per step")
    options.add_argument("--learning-rate", type=positive, default=learning_rate, help="of AdamW, at first")
    return options


def add_device(options: argparse.ArgumentParser) -> None:
    """Add the options of single-process scripts for device and precision."""
    options.add_argument("--device", type=device, default="cpu", help="such as cuda, cuda:1 or mps")
    options.add_argument("--bfloat16", action="store_true", help="train with automatic mixed precision")


def device(name: str) -> torch.device:
    """Parse an available device, as an argparse type."""
    try:
        torch.empty(1, device=name).cpu()
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError):
        there = ["cpu"] + [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise argparse.ArgumentTypeError(f"{name!r} is not there; there is {', '.join(there)}") from None


def at_least(lowest: int) -> Callable[[str], int]:
    """Return an argparse type for integers from `lowest` to the largest seed of torch."""

    def whole_number(text: str) -> int:
        number = int(text) if text.isdecimal() else -1
        if not lowest <= number < 2**63:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {lowest}, got {text!r}")
        return number

    return whole_number


def positive(text: str) -> float:
    """Parse a finite number above zero, as an argparse type."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number
