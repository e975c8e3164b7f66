"""Models that write, remember, keep and share what they should not."""

import threading

import torch
import torch.nn.functional as F
from torch import nn

from .bug import Bug


class Fine(nn.Module):
    """A norm between two layers: what most of the broken ones are without their bug."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.fc2 = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc2(F.relu(self.norm(self.fc1(x))))


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


# -- inputs -------------------------------------------------------------------------------------------


class AddsInPlace(Fine):
    def forward(self, x):
        x += 1
        return super().forward(x)


class FirstReluInPlace(nn.Sequential):
    def __init__(self):
        super().__init__(nn.ReLU(inplace=True), nn.Linear(6, 5))


class LaterReluInPlace(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 5), nn.ReLU(inplace=True))


class ClampsInTraining(Fine):
    def forward(self, x):
        return super().forward(x.clamp_(-1, 1) if self.training else x)


class AsksForGradients(Fine):
    def forward(self, x):
        return super().forward(x.requires_grad_())


class WritesThroughNumpy(Fine):
    def forward(self, x):
        x.numpy()[0] = 0
        return super().forward(x)


class PopsFromTheBatch(Fine):
    def forward(self, batch):
        return super().forward(batch.pop("x"))


class ReadsTheBatch(Fine):
    def forward(self, batch):
        return super().forward(batch["x"])


# -- alias --------------------------------------------------------------------------------------------


class ReturnsItsInput(Fine):
    def forward(self, x):
        return super().forward(x), x


class ReturnsAView(nn.Linear):
    def __init__(self):
        super().__init__(6, 6)

    def forward(self, x):
        return x.view(-1, 3, 2)


class ReturnsACopy(ReturnsAView):
    def forward(self, x):
        return x.view(-1, 3, 2).clone()


class ReturnsItsWeight(Fine):
    def forward(self, x):
        return super().forward(x), self.fc2.weight


class ReturnsItsCache(Fine):
    def forward(self, x):
        self.last = super().forward(x)
        return self.last


# -- grad modes ---------------------------------------------------------------------------------------


class FasterWithoutGradients(Fine):
    def forward(self, x):
        y = super().forward(x)
        return y if torch.is_grad_enabled() else y.half().float()


class OtherUnderInference(Fine):
    def forward(self, x):
        return super().forward(x) * (2 if torch.is_inference_mode_enabled() else 1)


# -- inference, then train ----------------------------------------------------------------------------


class KeepsATable(Fine):
    table = None

    def forward(self, x):
        if self.table is None or self.table.device != x.device:
            self.table = torch.linspace(0, 1, 8)
        return self.fc2(self.norm(self.fc1(x)) * self.table)


class HasATable(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.linspace(0, 1, 8))

    def forward(self, x):
        return self.fc2(self.norm(self.fc1(x)) * self.table)


# -- retention ----------------------------------------------------------------------------------------


class KeepsItsOutput(Fine):
    def forward(self, x):
        self.last = super().forward(x)
        return self.last


class LogsLosses(Fine):
    def __init__(self):
        super().__init__()
        self.log = {"loss": []}

    def forward(self, x):
        y = super().forward(x)
        self.log["loss"].append(y.pow(2).mean())
        return y


class LogsNumbers(LogsLosses):
    def forward(self, x):
        y = Fine.forward(self, x)
        self.log["loss"].append(y.pow(2).mean().item())
        return y


class LogsTheLastNumber(LogsLosses):
    def forward(self, x):
        y = Fine.forward(self, x)
        self.log["loss"] = [y.pow(2).mean().item()]
        return y


class KeepsItsInput(Fine):
    def forward(self, x):
        self.seen = [x]
        return super().forward(x)


class AddsAHook(Fine):
    def forward(self, x):
        self.fc1.register_forward_hook(lambda module, inputs, output: None)
        return super().forward(x)


class AddsAHookForTheCall(Fine):
    def forward(self, x):
        handle = self.fc1.register_forward_hook(lambda module, inputs, output: None)
        y = super().forward(x)
        handle.remove()
        return y


class GrowsATensor(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(0, 6), persistent=False)

    def forward(self, x):
        self.memory = torch.cat([self.memory, x.detach()])
        return super().forward(x)


class SharedHistory(Fine):
    history = []  # noqa: RUF012 - the bug: one list for all instances

    def forward(self, x):
        self.history.append(len(x))
        return super().forward(x)


def keeps_in_a_closure():
    seen = []

    class Keeps(Fine):
        def forward(self, x):
            seen[:] = [x]
            return super().forward(x)

    return Keeps()


# -- threads ------------------------------------------------------------------------------------------


class PassesByAttribute(Fine):
    def forward(self, x):
        self.scale = x.abs().mean(1, keepdim=True)
        y = super().forward(x)
        return y * self.scale


class PassesByVariable(Fine):
    def forward(self, x):
        scale = x.abs().mean(1, keepdim=True)
        y = super().forward(x)
        return y * scale


class SharedWorkspace(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("space", torch.zeros(4, 6), persistent=False)

    def forward(self, x):
        self.space.copy_(x)
        return super().forward(self.space)


class NoReentry(Fine):
    busy = False

    def forward(self, x):
        if self.busy:
            raise RuntimeError("called while it is running")
        self.busy = True
        y = super().forward(x)
        self.busy = False
        return y


class HangsInThreads(Fine):
    def forward(self, x):
        while threading.current_thread() is not threading.main_thread():
            pass
        return super().forward(x)


INPUT = (torch.randn(4, 6, generator=torch.Generator().manual_seed(0)),)
BATCH = ({"x": INPUT[0]},)
NOW = {"params": {"purity.threads": {"seconds": 0.2}}}
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
    Bug("purity.inputs", AddsInPlace, Fine, INPUT, "done by AddsInPlace.forward itself"),
    Bug("purity.inputs", FirstReluInPlace, LaterReluInPlace, INPUT, "done by `0` (ReLU)"),
    Bug("purity.inputs", ClampsInTraining, Fine, INPUT, "in training mode"),
    Bug("purity.inputs", AsksForGradients, Fine, INPUT, "args[0]"),
    Bug("purity.inputs", WritesThroughNumpy, Fine, INPUT, "args[0]"),
    Bug("purity.inputs", PopsFromTheBatch, ReadsTheBatch, BATCH, "changes a container among its arguments"),
    Bug("purity.alias", ReturnsItsInput, Fine, INPUT, "output[1] and args[0]"),
    Bug("purity.alias", ReturnsAView, ReturnsACopy, INPUT, "output and args[0]"),
    Bug("purity.alias", ReturnsItsWeight, Fine, INPUT, "output[1] and fc2.weight"),
    Bug("purity.alias", ReturnsItsCache, Fine, INPUT, "the model keeps what it returns: last"),
    Bug("purity.grad_modes", FasterWithoutGradients, Fine, INPUT, "FasterWithoutGradients.forward itself"),
    Bug("purity.grad_modes", OtherUnderInference, Fine, INPUT, "the output under inference_mode"),
    Bug("purity.inference_then_train", KeepsATable, HasATable, INPUT, "kept from that call: table"),
    Bug("purity.retention", KeepsItsOutput, Fine, INPUT, "last"),
    Bug("purity.retention", LogsLosses, LogsTheLastNumber, INPUT, "log['loss'][0]"),
    Bug("purity.retention", LogsNumbers, LogsTheLastNumber, INPUT, "len(log['loss']): 1 -> 2 -> 3"),
    Bug("purity.retention", KeepsItsInput, Fine, INPUT, "seen[0]"),
    Bug("purity.retention", AddsAHook, AddsAHookForTheCall, INPUT, "len(fc1._forward_hooks): 1 -> 2 -> 3"),
    Bug("purity.retention", GrowsATensor, CacheOfMasks, INPUT, "memory: 24 -> 48 -> 72"),
    Bug("purity.retention", SharedHistory, Fine, INPUT, "len(SharedHistory.history)"),
    Bug("purity.retention", keeps_in_a_closure, Fine, INPUT, "kept outside of the model"),
    Bug("purity.threads", PassesByAttribute, PassesByVariable, INPUT, "a call writes scale: "),
    Bug("purity.threads", SharedWorkspace, Fine, INPUT, "a call writes space: "),
    Bug("purity.threads", NoReentry, Fine, INPUT, "called while it is running"),
    Bug("purity.threads", HangsInThreads, Fine, INPUT, "8 of 8 threads", options=NOW),
]
