"""Train an image classifier on one process from data to report: the loop, the demonstrations, the files."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from data import Data, shifted
from drawing import Epoch, draw
from einops import rearrange
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from script_error import ScriptError
from torch import Tensor
from write_whole import write_whole

import tinynets as tn
from tinynets.models import ImageClassifier


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
