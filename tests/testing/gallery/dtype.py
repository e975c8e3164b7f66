"""Models that are tied to one dtype, one layout in memory or one device."""

import torch
from torch import nn

from .bug import Bug


class Fine(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 5)

    def forward(self, x):
        return self.linear(x)


class CastsToFloat(Fine):
    def forward(self, x):
        return self.linear(x).float()


class CastsInTheMiddle(Fine):
    """A positional term without a dtype: float32 under float64 too, which torch then refuses."""

    def forward(self, x):
        return self.linear(x.to(torch.float32))


class NewTensorInFloat(Fine):
    def forward(self, x):
        total = torch.zeros(x.shape[0], 5)
        return torch.where(x[:, :1] > 0, self.linear(x), total).to(torch.float32)


class NewTensorLikeTheInput(Fine):
    def forward(self, x):
        y = self.linear(x)
        return torch.where(x[:, :1] > 0, y, torch.zeros_like(y))


class PlainTable(Fine):
    def __init__(self):
        super().__init__()
        self.table = torch.eye(6)

    def forward(self, x):
        return self.linear(x @ self.table)


class BufferedTable(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.eye(6), persistent=False)

    def forward(self, x):
        return self.linear(x @ self.table)


class RoundsToHalf(Fine):
    """Converts to half and back, but only where the input is not double."""

    def forward(self, x):
        y = self.linear(x)
        return y if y.dtype == torch.float64 else y.half().to(y.dtype)


class Overflows(Fine):
    def forward(self, x):
        return (self.linear(x) * 1e6) / 1e6


class ScalesLater(Fine):
    def forward(self, x):
        return self.linear(x)


class HugeInBetween(Fine):
    def forward(self, x):
        return (self.linear(x) * 1e39) / 1e39 if x.dtype == torch.bfloat16 else self.linear(x)


class AssignsIntoFloat(nn.Module):
    """Under autocast the linear layers give bfloat16, and the tensor that is assigned into is float32."""

    def __init__(self):
        super().__init__()
        self.even, self.odd = nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, x):
        y = x.new_zeros(x.shape[0], 5)
        where = torch.arange(x.shape[0], device=x.device) % 2 == 0
        y[where] = self.even(x[where])
        y[~where] = self.odd(x[~where])
        return y


class ChoosesInstead(AssignsIntoFloat):
    def forward(self, x):
        where = torch.arange(x.shape[0], device=x.device)[:, None] % 2 == 0
        return torch.where(where, self.even(x), self.odd(x))


class Product(torch.autograd.Function):
    """The classic without `custom_fwd`: backward multiplies what autocast left in two dtypes."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return torch.mm(grad, weight.t()), torch.mm(x.t(), grad)


class ProductOfTwoDtypes(Fine):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 4))

    def forward(self, x):
        return Product.apply(self.linear(x), self.weight)


class PlainProduct(ProductOfTwoDtypes):
    def forward(self, x):
        return self.linear(x) @ self.weight


class FloatScale(Fine):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5, dtype=torch.float32))

    def forward(self, x):
        return self.linear(x) * self.scale


class DefaultScale(FloatScale):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))


class Views(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 5)

    def forward(self, x):
        return self.linear(x.view(x.shape[0], -1))


class Flattens(Views):
    def forward(self, x):
        return self.linear(x.flatten(1))


class TakesStridesForGranted(Views):
    def forward(self, x):
        return self.linear(x.as_strided((x.shape[0], 12), (12, 1)))


class ChannelViews(nn.Module):
    """A channel shuffle by `.view`: of a convolution's output, whose layout follows the weights."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.conv(x)
        return y.view(y.shape[0], 2, -1)


class ChannelReshapes(ChannelViews):
    def forward(self, x):
        y = self.conv(x)
        return y.reshape(y.shape[0], 2, -1)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return (grad.view(-1) * 2).view(grad.shape)


class ViewInBackward(ChannelViews):
    def forward(self, x):
        return Doubled.apply(self.conv(x)).relu() * self.conv(x)


class PlainDoubled(ChannelViews):
    def forward(self, x):
        return (self.conv(x) * 2).relu() * self.conv(x)


class LengthByItem(Fine):
    def forward(self, x):
        return self.linear(x)[:, : int(x.abs().max() * 0) + 3]


class LengthByShape(Fine):
    def forward(self, x):
        return self.linear(x)[:, :3]


class BooleanRows(Fine):
    def forward(self, x):
        y = self.linear(x)
        return y[y.sum(dim=1) > -1e9]


class PositionsOnTheCpu(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.position = nn.Linear(6, 5), nn.Embedding(6, 1)

    def forward(self, x):
        return self.linear(x + self.position(torch.arange(6, device="cpu"))[:, 0])


class PositionsOnTheDevice(PositionsOnTheCpu):
    def forward(self, x):
        return self.linear(x + self.position(torch.arange(6, device=x.device))[:, 0])


class ReadsInInit(BufferedTable):
    def __init__(self):
        super().__init__()
        self.sizes = [int(n) for n in torch.linspace(1, 4, 4).tolist()]


class CountsInInit(Fine):
    def __init__(self):
        super().__init__()
        self.sizes = [1, 2, 3, 4]


class RefilledTable(BufferedTable):
    def reset_parameters(self):
        self.table.copy_(torch.eye(6))


class IndexTable(nn.Module):
    """The relative positions of many a transformer: integers, so that garbage is out of range."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Embedding(11, 1)
        self.register_buffer("index", torch.empty(6, dtype=torch.long), persistent=False)
        self.fill()

    def fill(self):
        self.index.copy_(torch.arange(6) + 5)

    def forward(self, x):
        return x + self.bias(self.index)[:, 0]


class RefilledIndexTable(IndexTable):
    def reset_parameters(self):
        self.fill()


class FloatSpectrum(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, dtype=torch.complex64))

    def forward(self, x):
        return (x * self.weight).abs()


class DefaultSpectrum(FloatSpectrum):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.view_as_complex(torch.randn(6, 2)))


GENERATOR = torch.Generator().manual_seed(0)
INPUT = (torch.randn(3, 6, generator=GENERATOR),)
PAIRS = (torch.randn(3, 2, 6, generator=GENERATOR),)
IMAGES = (torch.randn(3, 3, 8, 8, generator=GENERATOR),)
HALF = {"supports": {"dtype.float16"}}
META = {"supports": {"device.meta_init"}}
BUGS = [
    Bug("dtype.float64", CastsToFloat, Fine, INPUT, "CastsToFloat is the first to give float32"),
    Bug("dtype.float64", CastsInTheMiddle, Fine, INPUT, "`linear` (Linear) is the first to get float32"),
    Bug("dtype.float64", NewTensorInFloat, NewTensorLikeTheInput, INPUT, "gives float32"),
    Bug("dtype.float64", PlainTable, BufferedTable, INPUT, "`table`: not registered"),
    Bug("dtype.float64", RoundsToHalf, Fine, INPUT, "limit 1e-04"),
    Bug("dtype.bfloat16", CastsToFloat, Fine, INPUT, "the model is bfloat16, and gives float32"),
    Bug("dtype.bfloat16", HugeInBetween, Fine, INPUT, "not finite in bfloat16"),
    Bug("dtype.float16", Overflows, ScalesLater, INPUT, "not finite in float16", HALF),
    Bug("dtype.float16", PlainTable, BufferedTable, INPUT, "`table`: not registered", HALF),
    Bug("dtype.autocast", AssignsIntoFloat, ChoosesInstead, INPUT, "y[where] = self.even(x[where])"),
    Bug("dtype.autocast", ProductOfTwoDtypes, PlainProduct, INPUT, "backward raised RuntimeError"),
    Bug("dtype.default", FloatScale, DefaultScale, INPUT, "`scale`"),
    Bug("dtype.default", FloatSpectrum, DefaultSpectrum, INPUT, "`weight`"),
    Bug("dtype.default", CastsToFloat, Fine, INPUT, "is the first to give float32"),
    Bug("layout.noncontiguous", Views, Flattens, PAIRS, "self.linear(x.view("),
    Bug("layout.noncontiguous", TakesStridesForGranted, Flattens, PAIRS, "give another output"),
    Bug("layout.channels_last", ChannelViews, ChannelReshapes, IMAGES, "in channels-last memory only"),
    Bug("layout.channels_last", ViewInBackward, PlainDoubled, IMAGES, "backward raised RuntimeError"),
    Bug("device.move", PlainTable, BufferedTable, INPUT, "`table`: .to() does not move it"),
    Bug("device.move", PositionsOnTheCpu, PositionsOnTheDevice, INPUT, 'torch.arange(6, device="cpu")'),
    Bug("device.meta_shapes", LengthByItem, LengthByShape, INPUT, "x.abs().max()"),
    Bug("device.meta_shapes", BooleanRows, Fine, INPUT, "y[y.sum(dim=1) > -1e9]"),
    Bug("device.meta_init", BufferedTable, RefilledTable, INPUT, "`table`: a buffer that is not saved", META),
    Bug("device.meta_init", IndexTable, RefilledIndexTable, INPUT, "`index`: a buffer that is not", META),
    Bug("device.meta_init", ReadsInInit, CountsInInit, INPUT, "torch.linspace(1, 4, 4).tolist()", META),
    Bug("device.meta_init", PlainTable, RefilledTable, INPUT, "`table`", META),
]
