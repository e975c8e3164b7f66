"""Models whose samples do not keep to themselves, or that take one batch size only."""

import torch
import torch.nn.functional as F
from torch import nn

from .bug import Bug


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 5)

    def forward(self, x):
        return self.second(self.between(self.first(x).relu()))

    def between(self, x):
        return x


class SubtractsTheMean(Encoder):
    def between(self, x):
        return x - x.mean(0)


class SubtractsTheMeanOfFeatures(Encoder):
    def between(self, x):
        return x - x.mean(1, keepdim=True)


class SoftmaxOverTheBatch(Encoder):
    def __init__(self, dim=0):
        super().__init__()
        self.softmax = nn.Softmax(dim=dim)

    def between(self, x):
        return self.softmax(x)


class SoftmaxOverFeatures(SoftmaxOverTheBatch):
    def __init__(self):
        super().__init__(dim=-1)


class AddsUpAlongTheBatch(Encoder):
    def between(self, x):
        return x.cumsum(0)


class NormalisesByTheBatch(Encoder):
    def __init__(self, track=False):
        super().__init__()
        self.norm = nn.BatchNorm1d(8, track_running_stats=track)

    def between(self, x):
        return self.norm(x)


class NormalisesByRunningStatistics(NormalisesByTheBatch):
    def __init__(self):
        super().__init__(track=True)


class ForcesTheModeInside(NormalisesByRunningStatistics):
    def between(self, x):
        self.norm.train()
        return self.norm(x)


class ScalesByTheLargest(Encoder):
    """As a fake quantiser with one scale per tensor does."""

    def between(self, x):
        scale = x.abs().max() / 127
        return (x / scale).round() * scale


class ScalesByTheLargestOfEach(Encoder):
    def between(self, x):
        scale = x.abs().amax(1, keepdim=True) / 127
        return (x / scale).round() * scale


class HidesTheBatchInAnotherAxis(Encoder):
    """Channels first and back by a reshape where a transpose is meant."""

    def between(self, x):
        return x.t().reshape(x.shape)


class TransposesBack(Encoder):
    def between(self, x):
        return x.t().t()


class LooksAtTheBusiest(Encoder):
    def between(self, x):
        busiest = x.sum(1).argmax()
        return x * (torch.arange(len(x)) != busiest).unsqueeze(1)


class LooksWhichIsBusiest(Encoder):
    """The busiest sample is mostly the same one when another is replaced: only the order tells."""

    def between(self, x):
        return x + 0.1 * x.sum(1).argmax()


class FavoursTheFirst(Encoder):
    def between(self, x):
        return torch.cat([x[:1] * 2, x[1:]])


class Attends(nn.Module):
    def __init__(self, batch_first=True):
        super().__init__()
        self.body = nn.TransformerEncoderLayer(8, 2, 8, batch_first=batch_first)
        self.head = nn.Linear(8, 3)
        nn.init.zeros_(self.head.weight)  # as ViT starts: all outputs are the same until a step of training

    def forward(self, x):
        return self.head(self.body(x))


class AttendsToTheBatch(Attends):
    def __init__(self):
        super().__init__(batch_first=False)


class Recurs(nn.Module):
    def __init__(self, batch_first=True):
        super().__init__()
        self.recurrent = nn.GRU(8, 4, batch_first=batch_first)

    def forward(self, x):
        return self.recurrent(x)[0]


class RecursOverTheBatch(Recurs):
    def __init__(self):
        super().__init__(batch_first=False)


class RemembersAndLeaks(Encoder):
    """Meant to remember its last call, which is no leak; the mean is."""

    def __init__(self, leak=True):
        super().__init__()
        self.last, self.leak = torch.zeros(()), leak

    def between(self, x):
        y = x + self.last - x.mean(0) * self.leak
        self.last = y.detach().mean()
        return y


class Remembers(RemembersAndLeaks):
    def __init__(self):
        super().__init__(leak=False)


class LeaksByTheGradient(Encoder):
    """A straight-through mean: the value is the sample's own, the gradient is not."""

    def between(self, x):
        mean = x.mean(0)
        return x + mean - mean.detach()


class LooksBehindInItsHead(Attends):
    def forward(self, x):
        x = super().forward(x)
        return x + 0.1 * x.roll(1, 0)


class RoutesByAMatrix(Encoder):
    """Picks samples by a product with ones and zeros, as the dispatch of a mixture of experts does."""

    def between(self, x):
        return torch.eye(len(x)) @ x


class PicksSamples(Encoder):
    def between(self, x):
        return x[torch.arange(len(x))]


class SqueezesEverything(Encoder):
    def forward(self, x):
        return super().forward(x).squeeze()


class FixesTheBatch(Encoder):
    def between(self, x):
        return x.reshape(4, 8)


class FixesAHiddenState(Encoder):
    def between(self, x):
        return x + torch.zeros(4, 8)


class FoldsIntoAFixedBatch(Encoder):
    def forward(self, x):
        return torch.stack([super().forward(x)] * 4, 1).reshape(4, -1)


class ReshapesByAGuess(Encoder):
    def between(self, x):
        return x.reshape(len(x), -1)


class Pixels(nn.Module):
    def __init__(self, stride=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, stride, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


class NormalisesPixelsByTheBatch(Pixels):
    def __init__(self):
        super().__init__()
        self.body[1] = nn.BatchNorm2d(4, track_running_stats=False)


class ShrinksToOnePixel(Pixels):
    def __init__(self):
        super().__init__(stride=4)


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.mix = nn.Conv1d(8, 8, 3)
        self.head = nn.Linear(8, 11)

    def forward(self, tokens):
        return self.head(self.mix(self.padded(self.embed(tokens).mT)).mT)

    def padded(self, x):
        return F.pad(x, (2, 0))


class PadsOnBothSides(Language):
    def padded(self, x):
        return F.pad(x, (1, 1))


class NormalisesOverTime(Language):
    def padded(self, x):
        return F.pad(F.layer_norm(x, x.shape[-1:]), (2, 0))


class Pools(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)

    def forward(self, x, mask):
        kept = (~mask).unsqueeze(-1)
        return (self.body(x, src_key_padding_mask=mask) * kept).sum(1) / kept.sum(1)


class PoolsPadding(Pools):
    def forward(self, x, mask):
        return self.body(x, src_key_padding_mask=mask).mean(1)


class ForgetsTheMaskInAttention(Pools):
    def forward(self, x, mask):
        return self.body(x) * (~mask).unsqueeze(-1)


class TakesTheLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.GRU(8, 4, batch_first=True)

    def forward(self, x, lengths):
        return self.recurrent(x)[0][torch.arange(len(x)), lengths - 1]


class TakesTheLastOfTheLongest(TakesTheLast):
    def forward(self, x, lengths):
        return self.recurrent(x)[0][:, -1] + 0 * lengths.unsqueeze(1)


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


ROWS = (drawn(3, 6),)
STEPS = (drawn(3, 5, 8),)
IMAGES = (drawn(3, 3, 4, 4),)
TOKENS = (torch.arange(22).reshape(2, 11) % 11,)
MASKED = (drawn(3, 6, 8), torch.zeros(3, 6, dtype=torch.bool))
LENGTHS = (drawn(3, 6, 8), torch.full((3,), 6))
BY_LENGTH = {"supports": {"batch.padding"}, "params": {"batch.padding": {"mask": "args[1]"}}}
BUGS = [
    Bug(
        "batch.neighbour",
        SubtractsTheMean,
        SubtractsTheMeanOfFeatures,
        ROWS,
        "SubtractsTheMean.forward itself",
    ),
    Bug(
        "batch.neighbour",
        SoftmaxOverTheBatch,
        SoftmaxOverFeatures,
        ROWS,
        "`softmax` (Softmax) does it: dim=0",
    ),
    Bug("batch.neighbour", AddsUpAlongTheBatch, Encoder, ROWS, "the output for sample 3 changes"),
    Bug(
        "batch.neighbour",
        NormalisesByTheBatch,
        NormalisesByRunningStatistics,
        ROWS,
        "track_running_stats=False",
    ),
    Bug(
        "batch.neighbour", ForcesTheModeInside, NormalisesByRunningStatistics, ROWS, "it is in training mode"
    ),
    Bug("batch.neighbour", ScalesByTheLargest, ScalesByTheLargestOfEach, ROWS, "output["),
    Bug("batch.neighbour", HidesTheBatchInAnotherAxis, TransposesBack, ROWS, "forward itself"),
    Bug("batch.neighbour", AttendsToTheBatch, Attends, STEPS, "batch_first=False"),
    Bug("batch.neighbour", RecursOverTheBatch, Recurs, STEPS, "`recurrent` (GRU) does it: batch_first=False"),
    Bug("batch.neighbour", RemembersAndLeaks, Remembers, ROWS, "output[", {"stateful": True}),
    Bug("batch.permute", LooksWhichIsBusiest, Encoder, ROWS, "LooksWhichIsBusiest.forward itself"),
    Bug("batch.permute", FavoursTheFirst, Encoder, ROWS, "changes with the order of the batch"),
    Bug("batch.subset", NormalisesPixelsByTheBatch, Pixels, IMAGES, "`body.1` (BatchNorm2d) does it: track"),
    Bug("batch.subset", LooksAtTheBusiest, Encoder, ROWS, "LooksAtTheBusiest.forward itself"),
    Bug("batch.subset", SubtractsTheMean, SubtractsTheMeanOfFeatures, ROWS, "alone"),
    Bug("batch.sizes[1]", SqueezesEverything, Encoder, ROWS, "[5] for 1, [4, 5] for 4"),
    Bug("batch.sizes[3]", FixesAHiddenState, Encoder, ROWS, "takes 4 samples and not 3"),
    Bug("batch.sizes[3]", FixesTheBatch, ReshapesByAGuess, ROWS, "the error names 4"),
    Bug("batch.sizes[3]", FoldsIntoAFixedBatch, Encoder, ROWS, "[4, 15] for 3, [4, 20] for 4"),
    Bug("batch.empty", ReshapesByAGuess, Encoder, ROWS, "RuntimeError"),
    Bug("batch.train_one", ShrinksToOnePixel, Pixels, IMAGES, "BatchNorm2d"),
    Bug(
        "batch.gradient",
        SubtractsTheMean,
        SubtractsTheMeanOfFeatures,
        ROWS,
        "SubtractsTheMean.forward itself",
    ),
    Bug("batch.gradient", LeaksByTheGradient, Encoder, ROWS, "has a gradient in sample"),
    Bug("batch.gradient", LooksBehindInItsHead, Attends, STEPS, " 0 "),
    Bug("batch.nan", RoutesByAMatrix, PicksSamples, ROWS, "RoutesByAMatrix.forward itself"),
    Bug("batch.causal", PadsOnBothSides, Language, TOKENS, "looks ahead", {"supports": {"batch.causal"}}),
    Bug("batch.causal", NormalisesOverTime, Language, TOKENS, "step", {"supports": {"batch.causal"}}),
    Bug(
        "batch.padding", PoolsPadding, Pools, MASKED, "padded steps, 4 to 5", {"supports": {"batch.padding"}}
    ),
    Bug(
        "batch.padding", ForgetsTheMaskInAttention, Pools, MASKED, "output[", {"supports": {"batch.padding"}}
    ),
    Bug("batch.padding", TakesTheLastOfTheLongest, TakesTheLast, LENGTHS, "padded steps", BY_LENGTH),
]
