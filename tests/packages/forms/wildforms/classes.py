"""Classes of every kind, with annotations that are strings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .functions import Abstract
from .settings import Attributes, Counted
from .settings import Watchful as Watchful


@dataclass
class Rays:
    origins: Float[Tensor, "*batch 3"]
    directions: Float[Tensor, "*batch 3"]
    near: Float[Tensor, ""] = 0.1

    def __post_init__(self) -> None:
        self.directions = torch.as_tensor(self.directions)

    def merge(self, other: Rays) -> Rays:
        return Rays(torch.cat([self.origins, other.origins]), torch.cat([self.directions, other.directions]))


@dataclass
class Sphere(Rays):
    radius: Float[Tensor, "*batch"] = dataclasses.field(default_factory=lambda: torch.ones(()))


@dataclass
class Masked(Counted):
    mask: Float[Tensor, "n"] = None

    def callbacks(self, attributes: Attributes, scale: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return self.mask * scale


class Box(NamedTuple):
    low: Float[Tensor, "n"]
    high: Float[Tensor, "n"]


class Batch(TypedDict, total=False):
    images: Float[Tensor, "batch height width"]
    weights: Float[Tensor, "batch"]


def train(batch: Batch, other: Batch) -> Float[Tensor, "batch"]:
    return other["weights"]


def train_all(batches: list[Batch]) -> Float[Tensor, ""]:
    return torch.ones(())


def merge_all(first: Rays, second: Rays) -> tuple[Rays, Float[Tensor, "n"]]:
    return first, second.origins[0]


class Linear(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight: Float[Tensor, "n n"] = nn.Parameter(torch.eye(width))

    def forward(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        assert isinstance(self, Linear)
        hidden: Float[Tensor, "batch n"] = x @ self.weight
        return hidden


class Flat(Linear):
    def forward(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch"]:
        return super().forward(x)

    def private(self, __x: Float[Tensor, "n"], *, __k: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return __x + __k

    @property
    def size(self) -> Float[Tensor, ""]:
        return self.weight.sum(0)

    @size.setter
    def size(self, value: Float[Tensor, ""]) -> None:
        self.weight.data *= value

    @cached_property
    def total(self) -> Float[Tensor, ""]:
        return self.weight.sum()

    @classmethod
    def of(cls, x: Float[Tensor, "n"]) -> Flat:
        return cls(len(x))

    @staticmethod
    def pad(x: Float[Tensor, "n"]) -> Float[Tensor, "n+1"]:
        return nn.functional.pad(x, (0, 1))


class Concrete(Abstract):
    def area(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        super().area(x)
        return x[:1]
