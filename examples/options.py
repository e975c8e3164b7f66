"""Command line options of the training scripts, and argparse types that name the option out of range."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch


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
