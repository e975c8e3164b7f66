"""A net with layers that are sensitive to the mode, one of them frozen by hand."""

from __future__ import annotations

from torch import Tensor, nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4)
        self.norm.eval()  # the flag that root-only implementations lose

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.dropout(self.fc(x)))


MIXED = [True, True, True, False]


def flags(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]
