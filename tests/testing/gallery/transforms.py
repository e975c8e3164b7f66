"""Models whose weights, modules or graph cannot be got at from outside."""

import functools

import torch
from torch import nn

from .bug import Bug


class Fine(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, x):
        return self.second(self.first(x).relu())


class WeightInAList(Fine):
    def __init__(self):
        super().__init__()
        self.weights = [self.first.weight]

    def forward(self, x):
        return self.second((x @ self.weights[0].T + self.first.bias).relu())


class WeightInAPartial(Fine):
    def __init__(self):
        super().__init__()
        self.project = functools.partial(nn.functional.linear, weight=self.first.weight)

    def forward(self, x):
        return self.second(self.project(x).relu())


class CachedWeight(Fine):
    """Computed once in eval mode, for speed."""

    cache = None

    def forward(self, x):
        if self.training or self.cache is None:
            self.cache = self.first.weight.softmax(dim=-1)
        return self.second(x @ self.cache.T)


class ComputedWeight(Fine):
    def forward(self, x):
        return self.second(x @ self.first.weight.softmax(dim=-1).T)


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 5))

    def forward(self, x):
        return self.layers(x)


class ForwardOfTheStack(Stack):
    def forward(self, x):
        return self.layers.forward(x)


class ForwardOfALayer(Fine):
    def forward(self, x):
        return self.second.forward(self.first(x).relu())


class BranchOnValues(Fine):
    def forward(self, x):
        y = self.first(x)
        return self.second(y if y.sum() > 1e9 else y.relu())


class FilledByHand(Fine):
    def forward(self, x):
        y = torch.zeros(x.shape[0], 6)
        y[:] = self.first(x)
        return self.second(y.relu())


class PrintsInForward(Fine):
    def forward(self, x):
        if x.mean().item() > 1e9:
            print("large")
        return super().forward(x)


class BehavesOtherwiseCompiled(Fine):
    def forward(self, x):
        y = super().forward(x)
        return y * 2 if torch.compiler.is_compiling() else y


class CountsItsCalls(Fine):
    """A Python number that changes with each call is a constant of each graph."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (self.calls / self.calls)


class WeightReadByAClosure(Fine):
    """A number of Python's own once it is traced: nothing on the model tells that it changes."""

    def __init__(self):
        super().__init__()
        values = self.first.bias.detach().numpy()
        self.scale = lambda: float(values[0])

    def forward(self, x):
        return super().forward(x) * self.scale()


class WeightReadInForward(Fine):
    def forward(self, x):
        return super().forward(x) * self.first.bias[0]


class BranchesOnTheBatch(Fine):
    def forward(self, x):
        y = super().forward(x)
        if x.shape[0] > 4:
            return y + 0
        return y - 0 if x.shape[0] == 3 else y


class SpecialCase(Fine):
    def forward(self, x):
        if x.shape[0] == 4:
            return super().forward(x)
        return super().forward(x) * 1.0


class Determinant(Fine):
    """An operation that ONNX has and one that it has not."""

    def forward(self, x):
        y = super().forward(x)
        return y + torch.special.bessel_j0(y)


class Cosine(Fine):
    def forward(self, x):
        y = super().forward(x)
        return y + y.cos()


INPUT = (torch.randn(3, 6, generator=torch.Generator().manual_seed(0)),)
SAMPLES = {"supports": {"transforms.per_sample_grads"}}
PATIENT = {"timeout": None}
ONNX = {"supports": {"transforms.onnx"}, "timeout": None}
OPTIMIZED = {"supports": {"transforms.optimized"}, "timeout": None}
AOTI = {"supports": {"transforms.aoti"}, "timeout": None}
BUGS = [
    Bug("transforms.functional_call", WeightInAList, Fine, INPUT, "`first.weight`: what is given for it"),
    Bug("transforms.functional_call", WeightInAPartial, Fine, INPUT, "`first.weight`: what is given"),
    Bug(
        "transforms.functional_call",
        CachedWeight,
        ComputedWeight,
        INPUT,
        "not used; the model also holds `cache`",
    ),
    Bug("transforms.hooks", ForwardOfTheStack, Stack, INPUT, "`layers.forward(...)` is called"),
    Bug("transforms.hooks", ForwardOfALayer, Fine, INPUT, "`second.forward(...)` is called"),
    Bug("transforms.per_sample_grads", BranchOnValues, Fine, INPUT, "y.sum() > 1e9", SAMPLES),
    Bug("transforms.per_sample_grads", FilledByHand, Fine, INPUT, "y[:] = self.first(x)", SAMPLES),
    Bug("transforms.compile", PrintsInForward, Fine, INPUT, "x.mean().item() > 1e9", PATIENT),
    Bug("transforms.compile", BehavesOtherwiseCompiled, Fine, INPUT, "gives another output", PATIENT),
    Bug("transforms.compile_dynamic", BranchesOnTheBatch, Fine, INPUT, "needs a third graph", PATIENT),
    Bug("transforms.compile_dynamic", CountsItsCalls, Fine, INPUT, "calls", PATIENT),
    Bug("transforms.export", BranchOnValues, Fine, INPUT, "y.sum() > 1e9", PATIENT),
    Bug("transforms.export", SpecialCase, Fine, INPUT, "batch", PATIENT),
    Bug(
        "transforms.onnx",
        Determinant,
        Cosine,
        INPUT,
        "No ONNX function found for <OpOverload(op='prims.bessel_j0'",
        ONNX,
    ),
    Bug("transforms.optimized", BranchOnValues, Fine, INPUT, "y.sum() > 1e9", OPTIMIZED),
    Bug(
        "transforms.optimized",
        WeightReadByAClosure,
        WeightReadInForward,
        INPUT,
        "gives another output after the weights have changed",
        OPTIMIZED,
    ),
    Bug("transforms.optimized", CountsItsCalls, Fine, INPUT, "forward changes attributes", OPTIMIZED),
    Bug("transforms.aoti", SpecialCase, Fine, INPUT, "torch.export raised", AOTI),
]
