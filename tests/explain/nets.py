"""Models whose forward passes are explained: each shows one thing."""

import functools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

import tinynets as tn
from tinynets._explain.explanation import Explanation


@functools.cache
def zoo(name: str) -> Explanation:
    """A model of the zoo in both modes, traced once for all tests that only look at it."""
    return tn.explain(tn.create_model(name), modes=("train", "eval"))


@functools.cache
def explained(kind: type[nn.Module], shape: str = "batch 8") -> Explanation:
    """One of the models below in both modes, traced once for all tests that only look at it."""
    return tn.explain(kind(), shape, modes=("train", "eval"))


class Comments(nn.Module):
    """Untyped, as most models are; one comment is stale."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 256)
        self.fc2 = nn.Linear(256, 10)

    def forward(self, x):
        x = x.flatten(1)  # [batch, 784]
        x = F.relu(self.fc1(x))  # [B, 512]
        return self.fc2(x)  # (batch, 10)


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.fc2 = nn.Linear(15, 4)

    def forward(self, x):
        hidden = self.fc1(x).relu()
        return self.fc2(hidden)


class BrokenContract(tn.Module):
    hidden: int

    def __init__(self) -> None:
        super().__init__()
        self.hidden = 5
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        h: Float[Tensor, "batch hidden"] = self.fc(x)
        return h


class Loop(nn.Module):
    def __init__(self, depth: int = 12) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(depth))

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        if x.shape[1] > 4:  # noqa: SIM108
            out = x[:, :4]
        else:
            out = x
        return out


class Modes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.25)
        self.plain = nn.Linear(8, 8)

    def forward(self, x):
        x = self.norm(x)
        x = self.drop(x)
        x = F.dropout(x, 0.5)
        return self.plain(x)


class Broadcast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 1)

    def forward(self, x, target):
        error = self.fc(x) - target
        scale = target[:, None] * torch.ones(8)
        return error.mean() + scale.mean()


class NeedsValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        y = self.fc(x)
        if y.sum().item() > 0:
            y = -y
        return y


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), Loop(2))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        features = self.body(x)
        return {"logits": self.head(features), "features": features}
