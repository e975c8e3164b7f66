"""A model without a bug, and its input, for the models that write, remember, keep and share."""

import torch
import torch.nn.functional as F
from torch import nn


class Fine(nn.Module):
    """A norm between two layers: what most of the broken ones are without their bug."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.fc2 = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc2(F.relu(self.norm(self.fc1(x))))


class CacheOfMasks(Fine):
    """Right: the key has all that the value depends on."""

    def __init__(self):
        super().__init__()
        self.cache = {}

    def forward(self, x):
        key = x.shape[0]
        if key not in self.cache:
            self.cache[key] = torch.ones(key, 1)
        return super().forward(x) * self.cache[key]


class SharedHistory(Fine):
    history = []  # noqa: RUF012 - the bug: one list for all instances

    def forward(self, x):
        self.history.append(len(x))
        return super().forward(x)


INPUT = (torch.randn(4, 6, generator=torch.Generator().manual_seed(0)),)
