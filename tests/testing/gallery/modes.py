"""Models whose modes do not do what they say, and randomness from where nobody looks for it."""

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .bug import Bug


class Fine(nn.Module):
    """A layer, a dropout, a layer: what each of the broken ones is without its bug."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 16)
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc2(self.drop(F.relu(self.fc1(x))))


class WithoutDropout(Fine):
    def __init__(self):
        super().__init__()
        self.drop = nn.Identity()


# -- deterministic ------------------------------------------------------------------------------------


class DropsInEvalToo(Fine):
    def forward(self, x):
        return self.fc2(F.dropout(F.relu(self.fc1(x)), 0.5))


class HiddenDropouts(Fine):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Dropout(0.5)]

    def forward(self, x):
        return self.fc2(self.layers[0](F.relu(self.fc1(x))))


class MonteCarlo(Fine):
    def train(self, mode=True):
        super().train(mode)
        self.drop.train()
        return self


class NumpyNoise(Fine):
    def forward(self, x):
        return super().forward(x + np.random.rand())


class SeedsItself(Fine):
    def forward(self, x):
        torch.manual_seed(0)
        return super().forward(x)


class CountsCalls(Fine):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class FreshNumpyGenerator(Fine):
    def forward(self, x):
        return super().forward(x) + np.random.default_rng().random()


# -- seeded -------------------------------------------------------------------------------------------


class PythonNoise(Fine):
    def forward(self, x):
        return super().forward(x * random.random() if self.training else x)


class NumpyMask(Fine):
    def __init__(self):
        super().__init__()
        self.drop = NumpyDropout()


class NumpyDropout(nn.Module):
    def forward(self, x):
        return x * torch.from_numpy(np.random.rand(*x.shape) > 0.5) if self.training else x


class OwnGenerator(Fine):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x):
        return super().forward(x + torch.randn(x.shape, generator=self.generator) if self.training else x)


class OwnNumpyGenerator(Fine):
    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        return super().forward(x + self.rng.random() if self.training else x)


class SeedsInTraining(Fine):
    def forward(self, x):
        if self.training:
            torch.manual_seed(0)
        return super().forward(x)


# -- flags --------------------------------------------------------------------------------------------


class SwitchesItsDropoutOff(Fine):
    def forward(self, x):
        self.drop.eval()
        return super().forward(x)


class SwitchesItsDropoutOn(Fine):
    def forward(self, x):
        self.drop.train()
        return super().forward(x)


class TurnsGradientsOff(Fine):
    def forward(self, x):
        torch.set_grad_enabled(False)
        return super().forward(x)


class TurnsGradientsOn(Fine):
    def forward(self, x):
        torch.set_grad_enabled(True)
        return super().forward(x)


class GradientsOffInside(Fine):
    def forward(self, x):
        with torch.no_grad():
            x = x + 1
        return super().forward(x)


class SetsDefaultDtype(Fine):
    def forward(self, x):
        torch.set_default_dtype(torch.float64)
        return super().forward(x)


class FreezesInForward(Fine):
    def forward(self, x):
        self.fc1.weight.requires_grad_(False)
        return super().forward(x)


class AsksForDeterminism(Fine):
    def forward(self, x):
        torch.use_deterministic_algorithms(True, warn_only=True)
        return super().forward(x)


# -- roundtrip ----------------------------------------------------------------------------------------


class ForgetsToReturnItself(Fine):
    def train(self, mode=True):
        super().train(mode)


class EvalIsNotPassedOn(Fine):
    def train(self, mode=True):
        self.training = mode
        if mode:
            self.drop.train()
        return self


class FrozenDropout(Fine):
    def train(self, mode=True):
        super().train(mode)
        self.drop.eval()
        return self


class HiddenAndHarmless(Fine):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(2, 2)]


class MergesTwice(Fine):
    """An adapter that is merged into the weight by each eval(), and taken out by none of the train()."""

    def __init__(self):
        super().__init__()
        self.adapter = nn.Parameter(torch.full((16, 6), 0.1))

    def train(self, mode=True):
        super().train(mode)
        if not mode:
            self.fc1.weight.data += self.adapter.data
        return self


# -- sensitivity --------------------------------------------------------------------------------------


class AnotherSwitch(WithoutDropout):
    noisy = False

    def train(self, mode=True):
        self.noisy = mode
        return super().train(mode)

    def forward(self, x):
        return super().forward(x + torch.randn_like(x) if self.noisy else x)


class ReadsInVain(WithoutDropout):
    def forward(self, x):
        return super().forward(x) * float(self.training or 1)


# -- ignored ------------------------------------------------------------------------------------------


class ThrowsItAway(Fine):
    def forward(self, x):
        x = F.relu(self.fc1(x))
        self.drop(x)
        return self.fc2(x)


class NeverCallsIt(Fine):
    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


class HardCodedOff(Fine):
    def forward(self, x):
        return self.fc2(F.dropout(F.relu(self.fc1(x)), self.drop.p, training=False))


class FunctionalDropout(Fine):
    def forward(self, x):
        return self.fc2(F.dropout(F.relu(self.fc1(x)), self.drop.p, training=self.training))


class BatchNormForEval(Fine):
    def __init__(self):
        super().__init__()
        self.drop = nn.BatchNorm1d(16)

    def forward(self, x):
        norm = self.drop
        x = F.batch_norm(
            self.fc1(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False
        )
        return self.fc2(x)


class FunctionalBatchNorm(BatchNormForEval):
    def forward(self, x):
        norm, x = self.drop, self.fc1(x)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, self.training)
        return self.fc2(x)


class SetsItToEval(Fine):
    def forward(self, x):
        self.drop.eval()
        return super().forward(x)


INPUT = (torch.randn(3, 6, generator=torch.Generator().manual_seed(0)),)
BUGS = [
    Bug("modes.deterministic", DropsInEvalToo, FunctionalDropout, INPUT, "DropsInEvalToo.forward itself"),
    Bug("modes.deterministic", HiddenDropouts, Fine, INPUT, "`layers[0]` (Dropout) is not registered"),
    Bug("modes.deterministic", MonteCarlo, FrozenDropout, INPUT, "`drop` (Dropout) is in training mode"),
    Bug(
        "modes.deterministic",
        NumpyNoise,
        Fine,
        INPUT,
        "draws from the random generator of numpy.random",
    ),
    Bug("modes.deterministic", SeedsItself, Fine, INPUT, "seeds the random generator of torch"),
    Bug("modes.deterministic", CountsCalls, Fine, INPUT, "a call writes calls: 0 -> 1"),
    Bug(
        "modes.deterministic", FreshNumpyGenerator, Fine, INPUT, "from FreshNumpyGenerator.forward itself on"
    ),
    Bug("modes.seeded", PythonNoise, Fine, INPUT, "uses Python's random"),
    Bug("modes.seeded", NumpyMask, Fine, INPUT, "`drop` (NumpyDropout)"),
    Bug("modes.seeded", OwnGenerator, Fine, INPUT, "a generator of its own: generator"),
    Bug("modes.seeded", OwnNumpyGenerator, Fine, INPUT, "a generator of its own: rng"),
    Bug("modes.seeded", FreshNumpyGenerator, Fine, INPUT, "FreshNumpyGenerator.forward itself"),
    Bug("modes.seeded", SeedsInTraining, Fine, INPUT, "seeds torch"),
    Bug("modes.flags", SwitchesItsDropoutOff, Fine, INPUT, "drop.training: True -> False"),
    Bug("modes.flags", SwitchesItsDropoutOn, Fine, INPUT, "drop.training: False -> True"),
    Bug(
        "modes.flags", TurnsGradientsOff, GradientsOffInside, INPUT, "torch.is_grad_enabled(): True -> False"
    ),
    Bug("modes.flags", TurnsGradientsOn, GradientsOffInside, INPUT, "torch.is_grad_enabled(): False -> True"),
    Bug("modes.flags", SetsDefaultDtype, Fine, INPUT, "done by SetsDefaultDtype.forward itself"),
    Bug("modes.flags", FreezesInForward, Fine, INPUT, "fc1.weight.requires_grad: True -> False"),
    Bug("modes.flags", AsksForDeterminism, Fine, INPUT, "torch.get_deterministic_debug_mode(): 0 -> 1"),
    Bug("modes.roundtrip", ForgetsToReturnItself, FrozenDropout, INPUT, "train() returns None"),
    Bug("modes.roundtrip", EvalIsNotPassedOn, Fine, INPUT, "`drop` (Dropout) is in training mode"),
    Bug("modes.roundtrip", HiddenDropouts, HiddenAndHarmless, INPUT, "eval() does not reach it"),
    Bug(
        "modes.roundtrip",
        MergesTwice,
        Fine,
        INPUT,
        "switching changes fc1.weight: other values in float32[16, 6]",
    ),
    Bug("modes.sensitivity", AnotherSwitch, Fine, INPUT, "the outputs differ between the modes"),
    Bug("modes.sensitivity", ReadsInVain, WithoutDropout, INPUT, "do not differ"),
    Bug("modes.ignored", ThrowsItAway, Fine, INPUT, "what it returns is not used"),
    Bug("modes.ignored", NeverCallsIt, FunctionalDropout, INPUT, "`drop` is never called"),
    Bug("modes.ignored", HardCodedOff, FunctionalDropout, INPUT, "nothing uses its settings"),
    Bug("modes.ignored", BatchNormForEval, FunctionalBatchNorm, INPUT, "`drop` (BatchNorm1d)"),
    Bug("modes.ignored", SetsItToEval, Fine, INPUT, "in eval mode"),
]
