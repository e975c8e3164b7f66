"""Models that do not run, or give outputs of several kinds."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

import tinynets as tn

from .bug import Bug


class Fine(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 5)

    def forward(self, x):
        return self.linear(x)


class DividesByZero(Fine):
    def forward(self, x):
        return super().forward(x) / 0 * 0


class ForgetsToReturn(Fine):
    def forward(self, x):
        super().forward(x)


class BreaksInTraining(Fine):
    def forward(self, x):
        return self.linear(x) if not self.training else self.missing(x)


class ReturnsByValue(Fine):
    def forward(self, x):
        y = super().forward(x)
        return (y, y) if x.flatten()[0] > -0.7 else y


class LongRepr(Fine):
    def extra_repr(self):
        return "x" * 2_000_000


class AddsPositions(tn.Module):
    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(10, 4))

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        return x + self.positions.repeat(2, 1)[: x.shape[1]]


class CutsToItsTable(AddsPositions):
    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        return x[:, :10] + self.positions[: x.shape[1]]


class RoundsDown(nn.Module):
    """Enforces nothing itself, and takes even sizes only."""

    def forward(self, x: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch 3 rows"]:
        return x.unflatten(2, (-1, 2)).flatten(2, 3)[:, :, :8].mean(3)


class FollowsRows(RoundsDown):
    def forward(self, x: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch 3 rows"]:
        return x.unflatten(2, (-1, 2)).flatten(2, 3).mean(3)


class NeedsTenSteps(AddsPositions):
    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        return x + self.positions


INPUT = (torch.randn(3, 6, generator=torch.Generator().manual_seed(0)),)
BUGS = [
    Bug("runs.eval", DividesByZero, Fine, INPUT, "20 of 20 values"),
    Bug("runs.eval", ForgetsToReturn, Fine, INPUT, "is a `return` missing?"),
    Bug("runs.train", BreaksInTraining, Fine, INPUT, "AttributeError"),
    Bug("runs.structure", ReturnsByValue, Fine, INPUT, "two kinds in eval mode"),
    Bug("runs.axes", CutsToItsTable, AddsPositions, ("batch 10 4",), "where `time` is 11"),
    Bug("runs.axes", RoundsDown, FollowsRows, ("batch 3 8 5",), "where `rows` is 16"),
    Bug(
        "runs.axes",
        NeedsTenSteps,
        AddsPositions,
        ("batch 10 4",),
        "takes 10 for `time` and no other size",
        {"params": {"runs.axes": {"axes": ("time",)}}},
    ),
    Bug("runs.repr", LongRepr, Fine, INPUT, "limit 1,000,000"),
]
