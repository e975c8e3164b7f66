"""Models that do not run, or give outputs of several kinds."""

import torch
from torch import nn

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


INPUT = (torch.randn(3, 6, generator=torch.Generator().manual_seed(0)),)
BUGS = [
    Bug("runs.eval", DividesByZero, Fine, INPUT, "20 of 20 values"),
    Bug("runs.eval", ForgetsToReturn, Fine, INPUT, "is a `return` missing?"),
    Bug("runs.train", BreaksInTraining, Fine, INPUT, "AttributeError"),
    Bug("runs.structure", ReturnsByValue, Fine, INPUT, "two kinds in eval mode"),
    Bug("runs.repr", LongRepr, Fine, INPUT, "limit 1,000,000"),
]
