"""Models that write to themselves, or remember."""

import torch
import torch.nn.functional as F
from torch import nn

from .bug import Bug
from .fine import INPUT, CacheOfMasks, Fine, SharedHistory

# -- parameters ---------------------------------------------------------------------------------------


class NormInTraining(Fine):
    def forward(self, x):
        x = F.batch_norm(self.fc1(x), self.norm.running_mean, self.norm.running_var, training=True)
        return self.fc2(x)


class BuildsALayer(Fine):
    def forward(self, x):
        if not hasattr(self, "head"):
            self.head = nn.Linear(5, 5)
        return self.head(super().forward(x))


class AssignsItsWeight(Fine):
    def forward(self, x):
        self.fc1.weight = nn.Parameter(F.normalize(self.fc1.weight, dim=1))
        return super().forward(x)


class RescalesItsWeight(Fine):
    def forward(self, x):
        self.fc1.weight.data.renorm_(2, 0, 0.5)
        return super().forward(x)


class NormalisesItsWeight(Fine):
    def forward(self, x):
        return self.fc2(F.linear(x, F.normalize(self.fc1.weight, dim=1)))


class CallsBackward(Fine):
    def forward(self, x):
        with torch.enable_grad():
            y = super().forward(x)
            y.sum().backward()
        return y


class AveragesInEval(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        self.mean.lerp_(x.detach().mean(0), 0.1)
        return super().forward(x - self.mean)


class AveragesInTraining(AveragesInEval):
    def forward(self, x):
        if self.training:
            self.mean.lerp_(x.detach().mean(0), 0.1)
        return Fine.forward(self, x - self.mean)


# -- attributes ---------------------------------------------------------------------------------------


class Counts(Fine):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


class CountsOnTheClass(Fine):
    calls = 0

    def forward(self, x):
        CountsOnTheClass.calls += 1
        return super().forward(x)


class KeepsFeatures(Fine):
    features = None

    def forward(self, x):
        self.features = self.fc1(x).detach()
        return super().forward(x)


class CachesBySize(Fine):
    def __init__(self):
        super().__init__()
        self.cache = {}

    def forward(self, x):
        if len(x) not in self.cache:
            self.cache[len(x)] = torch.arange(len(x))
        return super().forward(x)


class Constant(Fine):
    def forward(self, x):
        self.scale = 2  # the same in every call
        return super().forward(x) * self.scale


class Settled(Constant):
    scale = 2

    def __init__(self):
        super().__init__()
        self.scale = 2


# -- history ------------------------------------------------------------------------------------------


class KeepsTheFirstMean(Fine):
    mean = None

    def forward(self, x):
        if self.mean is None or len(x) == 1:
            self.mean = x.detach().mean(0)
        return super().forward(x - self.mean)


class CarriesOver(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("state", torch.zeros(5), persistent=False)

    def forward(self, x):
        y = super().forward(x) + self.state
        self.state = y.detach().mean(0)
        return y


def remembers_in_a_closure():
    seen = []

    class Remembers(Fine):
        def forward(self, x):
            seen.append(x.shape[0])
            return super().forward(x) + (seen[-2] if len(seen) > 1 else 0)

    return Remembers()


# -- live weights -------------------------------------------------------------------------------------


class CachesItsWeight(Fine):
    kept = None

    def train(self, mode=True):
        if mode:
            self.kept = None
        return super().train(mode)

    def forward(self, x):
        if self.training:
            return self.fc2(F.linear(x, F.normalize(self.fc1.weight)))
        if self.kept is None:
            self.kept = F.normalize(self.fc1.weight).detach()
        return self.fc2(F.linear(x, self.kept))


class CachesInABuffer(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", None, persistent=False)

    def forward(self, x):
        if self.table is None:
            self.table = self.fc1.weight.detach() * 2
        return self.fc2(F.linear(x, self.table))


class CachesByVersion(CachesItsWeight):
    """Sees writes in place, but not the buffers that a checkpoint brings."""

    def __init__(self):
        super().__init__()
        self.fused = None

    def forward(self, x):
        version = self.fc1.weight._version
        if self.fused is None or self.fused[0] != version:
            scale = (self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()).detach()
            self.fused = (version, scale)
        return self.fc2(self.fc1(x) * self.fused[1])


class CachesAll(nn.Linear):
    kept = None

    def __init__(self):
        super().__init__(6, 5)

    def forward(self, x):
        if self.kept is None:
            self.kept = self.weight.detach() * 2
        return F.linear(x, self.kept)


def already_called():
    model = CachesAll()
    model(*INPUT)
    return model


BUGS = [
    Bug("purity.parameters", NormInTraining, Fine, INPUT, "norm.running_mean: other values in float32[8]"),
    Bug("purity.parameters", BuildsALayer, Fine, INPUT, "head: (nothing) -> a Linear"),
    Bug("purity.parameters", AssignsItsWeight, NormalisesItsWeight, INPUT, "it is assigned anew"),
    Bug("purity.parameters", RescalesItsWeight, NormalisesItsWeight, INPUT, "1 parameter\n"),
    Bug("purity.parameters", CallsBackward, Fine, INPUT, "forward calls backward()"),
    Bug("purity.parameters", AveragesInEval, AveragesInTraining, INPUT, "mean: other values"),
    Bug("purity.attributes", Counts, Fine, INPUT, "calls: (nothing) -> 1"),
    Bug("purity.attributes", CountsOnTheClass, Fine, INPUT, "CountsOnTheClass.calls: "),
    Bug("purity.attributes", KeepsFeatures, Fine, INPUT, "features: (nothing) -> float32[4, 8]"),
    Bug("purity.attributes", CachesBySize, Fine, INPUT, "cache[4]: (nothing) -> int64[4]"),
    Bug("purity.attributes", Constant, Settled, INPUT, "scale: (nothing) -> 2"),
    Bug("purity.attributes", SharedHistory, Fine, INPUT, "SharedHistory.history: list of "),
    Bug("purity.history", KeepsTheFirstMean, CacheOfMasks, INPUT, "calls write mean: "),
    Bug("purity.history", CarriesOver, Fine, INPUT, "state"),
    Bug("purity.history", remembers_in_a_closure, Fine, INPUT, "it is kept outside of the model"),
    Bug("purity.live_weights", CachesItsWeight, NormalisesItsWeight, INPUT, "the first call keeps kept"),
    Bug("purity.live_weights", CachesInABuffer, Fine, INPUT, "weights written in place"),
    Bug("purity.live_weights", already_called, Fine, INPUT, "the model came with kept", single=True),
]
