"""Models whose gradients do not arrive, arrive as zero, infinite, too large or wrong."""

import random

import torch
import torch.nn.functional as F
from torch import nn

from .bug import Bug


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.middle(self.first(x).tanh()).tanh())

    def middle(self, x):
        return self.second(x)


class StartsAtZero(Net):
    """As the heads of ViT and Mixer do: only the step that follows wakes what is before."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.head.weight)


class SkipsALayer(Net):
    def middle(self, x):
        return x


class MakesMoreThanItCalls(Net):
    def __init__(self):
        super().__init__()
        self.spare = nn.ModuleList(nn.LayerNorm(8) for _ in range(5))


class ForgetsTheResult(Net):
    def middle(self, x):
        self.second(x)
        return x


class DetachesInTheMiddle(Net):
    def middle(self, x):
        return self.second(x.detach())


class ComputesUnderNoGrad(Net):
    def middle(self, x):
        with torch.no_grad():
            return self.second(x)


class TakesADetourThroughNumpy(Net):
    def middle(self, x):
        return torch.from_numpy(self.second(x).detach().numpy())


class UsesData(Net):
    def middle(self, x):
        return F.linear(x, self.second.weight.data, self.second.bias)


class CopiesItsParameter(Net):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))

    def middle(self, x):
        return self.second(x) * torch.tensor(self.scale.tolist())


class ScalesByItsParameter(CopiesItsParameter):
    def middle(self, x):
        return self.second(x) * self.scale


class OverwritesWhatBackwardNeeds(Net):
    def middle(self, x):
        y = self.second(x).exp()
        y += 1
        return y


class AddsInPlaceToACopy(Net):
    def middle(self, x):
        return self.second(x).exp() + 1


class Clamps(Net):
    def middle(self, x):
        return (self.second(x) + 1e3).clamp(-1, 1)


class ClampsWhatIsOutside(Net):
    def middle(self, x):
        return self.second(x).clamp(-1, 1)


class Rounds(Net):
    def middle(self, x):
        return self.second(x).round()


class MultipliesByAZeroBuffer(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("gate", torch.zeros(()))

    def middle(self, x):
        return x + self.gate * self.second(x)


class MultipliesByAZeroParameter(Net):
    """ReZero: the gate opens in the first step."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))

    def middle(self, x):
        return x + self.gate * self.second(x)


class ForEvalOnly(Net):
    """As an auxiliary head: it takes part in training only."""

    def middle(self, x):
        return self.second(x) if self.training else x


class DropsLayersAtRandom(Net):
    def middle(self, x):
        return self.second(x) if torch.rand(()) < 0.5 or not self.training else x


class DropsLayersByAWeight(Net):
    def middle(self, x):
        return x + self.second(x) * (torch.rand(()) < 0.5)


class RoutesByValue(Net):
    """A mixture of experts with one expert for a whole batch."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(8, 8)

    def middle(self, x):
        return self.second(x) if x.mean() > 0.02 else self.other(x)


class RoutesSoftly(RoutesByValue):
    def middle(self, x):
        share = x.mean().sigmoid()
        return self.second(x) * share + self.other(x) * (1 - share)


class MeasuresDistances(Net):
    """Between all pairs, each point and itself among them."""

    smallest = 0.0

    def middle(self, x):
        y = self.second(x).unsqueeze(2)
        return ((y - y.mT).square() + self.smallest).sqrt().sum(2)


class MeasuresDistancesAboveZero(MeasuresDistances):
    smallest = 1e-6


class HidesAPoleBehindWhere(Net):
    def middle(self, x):
        y = self.second(x)
        return torch.where(y > 0, y.sqrt(), 0)


class AvoidsThePole(Net):
    def middle(self, x):
        y = self.second(x)
        return torch.where(y > 0, torch.where(y > 0, y, 1.0).sqrt(), 0)


class RawPixels(Net):
    def forward(self, x):
        return self.head(1e5 * x.repeat(1, 2)[:, :8])


class NormalPixels(Net):
    def forward(self, x):
        return self.head(x.repeat(1, 2)[:, :8])


class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.stem(self.seen(x)).tanh().mean((2, 3)))

    def seen(self, x):
        return x


class Crops(Pixels):
    def seen(self, x):
        return x[:, :, 2:-2, 2:-2]


class LeavesAColumn(Pixels):
    def seen(self, x):
        return x[..., :-1]


class ForgetsAChannel(Pixels):
    def seen(self, x):
        return x * torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1)


class StridesOverPixels(Pixels):
    def seen(self, x):
        return x[:, :, ::2, ::2]


class SeesNothing(Pixels):
    def seen(self, x):
        return x.detach()


class PoolsTheLargest(Pixels):
    """Each batch reaches a quarter of the pixels only, but another one."""

    def seen(self, x):
        return F.max_pool2d(x, 2)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))
        self.linear = nn.Linear(6, 3)

    def forward(self, x, condition):
        return self.linear(x + self.gate * condition)


class IgnoresTheCondition(TwoInputs):
    def forward(self, x, condition):
        return self.linear(x + self.gate * (condition * 0).sum())


class DrawsFromPython(Net):
    def middle(self, x):
        return self.second(x) * random.random()


class DrawsFromTorch(Net):
    def middle(self, x):
        return self.second(x) * torch.rand(())


class CountsItsCalls(Net):
    calls = 0

    def middle(self, x):
        self.calls += 1
        return self.second(x) * self.calls


class TimesMinusOne(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return -2 * gradient


class TimesTwo(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class HasTheWrongSign(Net):
    def forward(self, x):
        return TimesMinusOne.apply(super().forward(x))


class HasTheRightSign(Net):
    def forward(self, x):
        return TimesTwo.apply(super().forward(x))


class LearnsItsBiasOnly(Net):
    def middle(self, x):
        return x * 0


def squared_error(output):
    target = torch.arange(9.0).reshape(3, 3).sin()
    return (output - target).square().mean()


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


ROWS = (drawn(3, 6),)
IMAGES = (drawn(3, 3, 8, 8),)
TWO = (drawn(3, 6), drawn(3, 6))
ONE_STEP = {"supports": {"gradients.one_step"}, "loss": squared_error}
OVERFIT = {
    "supports": {"gradients.overfit"},
    "loss": squared_error,
    "params": {"gradients.overfit": {"learning_rate": 1e-2}},
}
GRADCHECK = {"supports": {"gradients.gradcheck"}}
BUGS = [
    Bug("gradients.reach", SkipsALayer, Net, ROWS, "`second` (Linear) is never called"),
    Bug(
        "gradients.reach",
        MakesMoreThanItCalls,
        Net,
        ROWS,
        "`spare.2` (LayerNorm) is never called; and 2 more",
    ),
    Bug("gradients.reach", ForgetsTheResult, StartsAtZero, ROWS, "is not used, or is detached later on"),
    Bug("gradients.reach", DetachesInTheMiddle, Net, ROWS, "`first.weight`, `first.bias`"),
    Bug(
        "gradients.reach", ComputesUnderNoGrad, Net, ROWS, "`second` (Linear) is called under torch.no_grad()"
    ),
    Bug("gradients.reach", TakesADetourThroughNumpy, Net, ROWS, "4 of 6 parameters get no gradient"),
    Bug("gradients.reach", UsesData, Net, ROWS, "`second` (Linear) is never called"),
    Bug(
        "gradients.reach",
        CopiesItsParameter,
        ScalesByItsParameter,
        ROWS,
        "does not use `scale`, or detaches it",
    ),
    Bug(
        "gradients.reach",
        OverwritesWhatBackwardNeeds,
        AddsInPlaceToACopy,
        ROWS,
        "the result of Exp is changed in place",
    ),
    Bug("gradients.zero", Clamps, ClampsWhatIsOutside, ROWS, "what follows `second` (Linear) is constant"),
    Bug("gradients.zero", Rounds, StartsAtZero, ROWS, "exactly 0 in 3 batches"),
    Bug("gradients.zero", MultipliesByAZeroBuffer, MultipliesByAZeroParameter, ROWS, "`second.weight`"),
    Bug("gradients.eval_reach", ForEvalOnly, Net, ROWS, "`second.weight`, `second.bias`"),
    Bug("gradients.ddp", DropsLayersAtRandom, DropsLayersByAWeight, ROWS, "find_unused_parameters=True"),
    Bug("gradients.ddp", RoutesByValue, RoutesSoftly, ROWS, "no gradient in"),
    Bug(
        "gradients.finite",
        MeasuresDistances,
        MeasuresDistancesAboveZero,
        ROWS,
        "is the first NaN: ",
    ),
    Bug("gradients.finite", HidesAPoleBehindWhere, AvoidsThePole, ROWS, "torch.where(y > 0, y.sqrt(), 0)"),
    Bug("gradients.scale", RawPixels, NormalPixels, ROWS, "`head.weight`, of `head` (Linear)"),
    Bug("gradients.input", Crops, Pixels, IMAGES, "args[0][:, :, 0:2, :], args[0][:, :, 6:8, :]"),
    Bug("gradients.input", LeavesAColumn, Pixels, IMAGES, "args[0][:, :, :, 7]"),
    Bug("gradients.input", ForgetsAChannel, PoolsTheLargest, IMAGES, "args[0][:, 2, :, :]"),
    Bug(
        "gradients.input", StridesOverPixels, Pixels, IMAGES, "args[0][:, :, 1::2, :], args[0][:, :, :, 1::2]"
    ),
    Bug("gradients.input", IgnoresTheCondition, TwoInputs, TWO, "all of args[1]"),
    Bug("gradients.input", SeesNothing, Pixels, IMAGES, "all of args[0]"),
    Bug("gradients.checkpoint", DrawsFromPython, DrawsFromTorch, ROWS, "checkpointing changes the gradients"),
    Bug("gradients.checkpoint", CountsItsCalls, Net, ROWS, "checkpointing changes the gradients"),
    Bug("gradients.one_step", HasTheWrongSign, HasTheRightSign, ROWS, "no step along the negative", ONE_STEP),
    Bug("gradients.overfit", LearnsItsBiasOnly, Net, ROWS, "does not drop by 90%", OVERFIT),
    Bug("gradients.gradcheck", HasTheWrongSign, HasTheRightSign, ROWS, "of output 0 in", GRADCHECK),
]
