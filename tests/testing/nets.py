"""Small models for the tests of the reports, the exemptions and pytest."""

from typing import ClassVar

import torch
from torch import nn


class Good(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 5)

    def forward(self, x):
        return self.linear(x)


class NotFinite(Good):
    def forward(self, x):
        return self.linear(x) / 0 * 0


class LongRepr(Good):
    def extra_repr(self):
        return "x" * 2_000_000


class Declares(LongRepr):
    __checks__: ClassVar = {"expected_failures": {"runs.repr": "a joke"}}


class Raises(Good):
    def forward(self, x):
        raise RuntimeError("the sky is falling")


def make():
    return Good()


GIVEN = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
