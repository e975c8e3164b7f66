"""How an architecture of another package is made, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

TOKENS = 99
"""Rows of every vocabulary."""
LENGTH = 10


@dataclass(frozen=True)
class Net:
    """An architecture.

    Args:
        make: makes it in a tiny size, without downloading weights.
        inputs: positional arguments of `forward`, as `check_model` takes them.
        named: keyword arguments of `forward`.
        options: further arguments of `check_model`.
    """

    make: Callable[[], nn.Module]
    inputs: tuple[Any, ...] = ()
    named: dict[str, Any] = field(default_factory=dict[str, Any])
    options: dict[str, Any] = field(default_factory=dict[str, Any])


def generator() -> torch.Generator:
    """Return a source of randomness that leaves the global one alone."""
    return torch.Generator().manual_seed(0)


def tokens(samples: int = 4, length: int = LENGTH) -> Tensor:
    """Return ids of words; the first three are special in many models."""
    return torch.randint(3, TOKENS, (samples, length), generator=generator())


def text() -> dict[str, Tensor]:
    """Return what a tokenizer returns: ids, and a mask of sentences of several lengths."""
    lengths = torch.tensor([LENGTH, LENGTH - 1, LENGTH - 3, LENGTH])
    mask = (torch.arange(LENGTH) < lengths[:, None]).long()
    return {"input_ids": tokens(), "attention_mask": mask}


def images(size: int = 32, channels: int = 3, samples: int = 4) -> Tensor:
    """Return images of unit variance."""
    return torch.randn(samples, channels, size, size, generator=generator())
