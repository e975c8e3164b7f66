"""Models that write to their arguments, share memory, or keep what belongs to the caller."""

import torch
from torch import nn

from .bug import Bug
from .fine import INPUT, CacheOfMasks, Fine, SharedHistory

BATCH = ({"x": INPUT[0]},)


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


def keeps_in_a_closure():
    seen = []

    class Keeps(Fine):
        def forward(self, x):
            seen[:] = [x]
            return super().forward(x)

    return Keeps()


BUGS = [
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
]
