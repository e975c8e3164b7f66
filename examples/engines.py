"""Code that the examples for Lightning Fabric and Accelerate share: options, data, model and optimizer."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from data import Data
from digits import build, digit_model, load_digits
from options import at_least, parser
from processes import report
from script_error import ScriptError
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import tinynets as tn
from tinynets.models import ImageClassifier

Batches = DataLoader[tuple[Tensor, ...]]


def options(description: str | None, *, out: str) -> argparse.ArgumentParser:
    """Return the parser of both scripts."""
    both = parser(description, out=out, epochs=5, learning_rate=3e-3)
    both.add_argument("--model", type=digit_model, default="simple_vit", metavar="NAME", help="of the zoo")
    both.add_argument("--freeze", metavar="PART", help="submodule that stays as it is, such as `patches`")
    both.add_argument("--limit", type=at_least(1), default=None, help="use so many images only")
    return both


def run(work: Callable[[argparse.Namespace], None], chosen: argparse.Namespace) -> int:
    """Do the work, and return the exit code; errors that the user can fix are printed in one line."""
    try:
        work(chosen)
    except (ScriptError, OSError) as error:
        report(error)
        return 1
    return 0


def model_and_data(chosen: argparse.Namespace) -> tuple[ImageClassifier, Data]:
    """Build the same model on every process, freeze the chosen part, and load the digits."""
    data = load_digits(seed=chosen.seed)
    part = slice(chosen.limit)
    data = replace(
        data,
        train_images=data.train_images[part],
        train_labels=data.train_labels[part],
        held_out_images=data.held_out_images[part],
        held_out_labels=data.held_out_labels[part],
    )
    torch.manual_seed(chosen.seed)
    model = build(chosen.model, data.train_images)
    if chosen.freeze:
        try:
            frozen = model.get_submodule(chosen.freeze)
        except AttributeError:
            parts = ", ".join(name for name, _ in model.named_children())
            raise ScriptError(f"--freeze {chosen.freeze}: {chosen.model} has the parts {parts}") from None
        tn.freeze(frozen)  # before the optimizer is built; train() does not undo it
    return model, data


def loaders(data: Data, batch_size: int) -> tuple[Batches, Batches]:
    """Return shuffled batches for training, and batches for evaluation."""
    train = TensorDataset(data.train_images, data.train_labels)
    held_out = TensorDataset(data.held_out_images, data.held_out_labels)
    # Accelerate would fill up a larger batch with the same images again.
    return DataLoader(train, batch_size, shuffle=True), DataLoader(held_out, min(500, len(held_out)))


def optimizer_of(model: ImageClassifier, learning_rate: float) -> torch.optim.Optimizer:
    """Return AdamW over the parameters that are not frozen."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=learning_rate)
