"""What the tests of this folder optimize."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

import tinynets as tn

Pair = namedtuple("Pair", "first second")


@dataclass
class Settings:
    scale: float


class Net(tn.Module):
    """A bit of everything that can change: submodules, numbers, lists, objects, tensors of all kinds."""

    width: int
    factor = 1.0
    gains = {"first": 1.0}  # noqa: RUF012

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.width = width
        self.conv = nn.Conv2d(2, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(width, 3)
        self.slope = 0.5
        self.steps = [1.0, 2.0]
        self.settings = Settings(1.0)
        self.shift = torch.zeros(3)
        self.hidden = [nn.Linear(3, 3)]
        self.register_buffer("offset", torch.zeros(3))

    def forward(self, x: Float[Tensor, "batch 2 height width_"]) -> Float[Tensor, "batch 3"]:
        maps: Float[Tensor, "batch {self.width} height width_"] = self.norm(self.conv(x))
        maps = F.leaky_relu(maps, self.slope) * self.steps[0] * self.settings.scale * self.factor
        maps = maps * self.gains["first"]
        pooled: Float[Tensor, "batch {self.width}"] = self.drop(maps.mean((2, 3)))
        return self.hidden[0](self.head(pooled)) + self.shift + self.offset


class Inputs(nn.Module):
    """Several inputs in containers, a flag, and nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def forward(
        self, x: Tensor, others: dict[str, Tensor], mask: Tensor | None = None, *, double: bool = False
    ) -> dict[str, Any]:
        y = self.lin(x) + others["a"] * others["b"]
        if mask is not None:
            y = y.masked_fill(mask, 0.0)
        if double:
            y = y * 2
        return {"y": y, "parts": [y[:, :2], (y.sum(), None)], "pair": Pair(x, 3)}


class DataDependent(nn.Module):
    """Cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:  # the line
            return x + 1
        return x - 1


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    model = Net()
    with torch.no_grad():
        model.norm.running_mean.normal_()
        model.norm.running_var.uniform_(0.5, 1.5)
    return model


def equal(fast: Any, model: nn.Module, *args: Any, **kwargs: Any) -> bool:
    """Whether the optimized model gives the bits of the model in eval mode."""
    with tn.inference(model):
        expected = model(*args, **kwargs)
    found = fast(*args, **kwargs)
    ours, theirs = (torch.utils._pytree.tree_flatten(value) for value in (found, expected))
    return ours[1] == theirs[1] and all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b
        for a, b in zip(ours[0], theirs[0], strict=True)
    )


def took_a_line(fast: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether a call does without the model."""
    learn, calls = fast.learn, []

    def watched(args: Any, kwargs: Any, **options: Any) -> Any:
        calls.append(args)
        return learn(args, kwargs, **options)

    fast.learn = watched
    try:
        fast(*args, **kwargs)
    finally:
        del fast.learn
    return not calls


class Mixed(nn.Module):
    """The layers that small nets are made of, for images of any size but one that a program is compiled for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.before, self.qkv = nn.LayerNorm(8), nn.Linear(8, 24)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(8, 3)
        self.scale = 2.0
        self.shift = torch.ones(3)

    def forward(self, x: Tensor) -> dict[str, Any]:
        maps = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        tokens = self.before(maps.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(tokens).unsqueeze(1).chunk(3, dim=-1)
        tokens = tokens + F.scaled_dot_product_attention(q, k, v).squeeze(1)
        weights = F.gelu(tokens).softmax(dim=1)
        pooled = self.drop((weights * tokens).sum(1))
        return {"logits": self.head(pooled) * self.scale + self.shift, "parts": [pooled, maps.mean((2, 3))]}


def error_of(call: Callable[[], object]) -> Exception | None:
    """Return what a call raises, or None."""
    try:
        call()
    except Exception as error:
        return error
    return None
