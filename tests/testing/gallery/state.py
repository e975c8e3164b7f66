"""Models whose state is hidden, lost, shared or drawn from elsewhere."""

import random
import warnings

import torch
from torch import nn

from .bug import Bug


class Fine(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 5)

    def forward(self, x):
        return self.linear(x)


class ListOfLayers(nn.Module):
    container = list

    def __init__(self):
        super().__init__()
        self.layers = self.container([nn.Linear(6, 6), nn.Linear(6, 5)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class ModuleListOfLayers(ListOfLayers):
    container = nn.ModuleList


class DictOfHeads(nn.Module):
    container = dict

    def __init__(self):
        super().__init__()
        self.heads = self.container({"a": nn.Linear(6, 5), "b": nn.Linear(6, 5)})

    def forward(self, x):
        return {name: head(x) for name, head in self.heads.items()}


class ModuleDictOfHeads(DictOfHeads):
    container = nn.ModuleDict


class ListOfParameters(Fine):
    container = list

    def __init__(self):
        super().__init__()
        self.scales = self.container([nn.Parameter(torch.ones(5)), nn.Parameter(torch.zeros(5))])

    def forward(self, x):
        return self.linear(x) * self.scales[0] + self.scales[1]


class ParameterListOfParameters(ListOfParameters):
    container = nn.ParameterList


class PlainTensor(Fine):
    def __init__(self):
        super().__init__()
        self.keep("mean", torch.arange(6) / 6)

    def keep(self, name, tensor):
        setattr(self, name, tensor)

    def forward(self, x):
        return self.linear(x - self.mean)


class Buffer(PlainTensor):
    def keep(self, name, tensor):
        self.register_buffer(name, tensor, persistent=False)


class LayerInTheClassBody(Fine):
    activation = nn.PReLU()

    def forward(self, x):
        return self.activation(self.linear(x))


class LayerOfTheInstance(Fine):
    def __init__(self):
        super().__init__()
        self.activation = nn.PReLU()

    def forward(self, x):
        return self.activation(self.linear(x))


class PriorAsAttribute(Fine):
    def __init__(self):
        super().__init__()
        self.prior = torch.distributions.Normal(torch.zeros(5), torch.ones(5))

    def forward(self, x):
        return self.prior.log_prob(self.linear(x))


class PriorInForward(Fine):
    def forward(self, x):
        return torch.distributions.Normal(0.0, 1.0).log_prob(self.linear(x))


class RowsOfAWeight(Fine):
    def __init__(self):
        super().__init__()
        self.first = self.linear.weight.data[:2]

    def forward(self, x):
        return self.linear(x), x @ self.first.T


class RowsInForward(Fine):
    def forward(self, x):
        return self.linear(x), x @ self.linear.weight[:2].T


class RandomProjection(nn.Module):
    persistent = False

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 5)
        self.register_buffer("projection", torch.randn(6, 4), persistent=self.persistent)

    def forward(self, x):
        return self.linear(x @ self.projection)


class SavedProjection(RandomProjection):
    persistent = True


class RandomScale(Fine):
    def __init__(self):
        super().__init__()
        self.scale = random.random()

    def forward(self, x):
        return self.linear(x) * self.scale


class RunningMeanAsTensor(Fine):
    """The classic: a batch norm of one's own."""

    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(6)

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(dim=0)
        return self.linear(x - self.mean)


class RunningMeanAsBuffer(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        if self.training:
            self.mean.lerp_(x.detach().mean(dim=0), 0.1)
        return self.linear(x - self.mean)


class BufferMadeInForward(Fine):
    def forward(self, x):
        if "count" not in self._buffers:
            self.register_buffer("count", torch.zeros(()))
        self.count += 1
        return self.linear(x)


class BufferMadeInInit(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))


class LoadIgnoresTheHead(Fine):
    def _load_from_state_dict(self, state, prefix, *rest):
        state[prefix + "linear.bias"] = self.linear.bias.detach().clone()


class Options:
    pass


class ExtraStateOfItsOwn(Fine):
    def get_extra_state(self):
        return Options()

    def set_extra_state(self, state):
        pass


class ExtraStateOfNumbers(Fine):
    def get_extra_state(self):
        return torch.tensor([1, 2])

    def set_extra_state(self, state):
        pass


class FusedParts(nn.Module):
    """Two parameters on halves of one memory."""

    def __init__(self):
        super().__init__()
        weight = torch.randn(11, 6)
        self.query, self.key = nn.Parameter(weight[:5]), nn.Parameter(weight[5:10])

    def forward(self, x):
        return x @ self.query.T * (x @ self.key.T)


class SeparateParts(FusedParts):
    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Parameter(self.query.data.clone()), nn.Parameter(self.key.data.clone())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(6, 4), nn.Linear(6, 4)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.embed(x) * self.head(x)


class TiesCutByLoading(Tied):
    def _load_from_state_dict(self, state, prefix, *rest):
        self.head.weight = nn.Parameter(self.head.weight.detach().clone())


class TiesCutByCopying(Tied):
    def __deepcopy__(self, memo):
        other = type(self)()
        other.head.weight = nn.Parameter(self.head.weight.detach().clone())
        other.load_state_dict(self.state_dict())
        return other


class LambdaAsAttribute(Fine):
    def __init__(self):
        super().__init__()
        self.activation = lambda x: x.relu()

    def forward(self, x):
        return self.activation(self.linear(x))


class FunctionAsAttribute(LambdaAsAttribute):
    def __init__(self):
        super().__init__()
        self.activation = torch.relu


class PicklesWithoutState(Fine):
    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        self.__init__()


class LambdaOverSelf(LambdaAsAttribute):
    """The copy's lambda still calls the layers of the original."""

    def __init__(self):
        super().__init__()
        self.activation = lambda x: self.linear(x).relu()

    def forward(self, x):
        return self.activation(x)


class MethodOfSelf(LambdaOverSelf):
    def __init__(self):
        super().__init__()
        self.activation = self.activated

    def activated(self, x):
        return self.linear(x).relu()


class CopiesShallowly(Fine):
    def __deepcopy__(self, memo):
        other = type(self)()
        other.linear = self.linear
        return other


def old_weight_norm():
    with warnings.catch_warnings(action="ignore"):
        return nn.utils.weight_norm(nn.Linear(6, 5))


def new_weight_norm():
    return nn.utils.parametrizations.weight_norm(nn.Linear(6, 5))


class DrawsFromPython(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.tensor(random.sample(range(6), 6)))


class DrawsFromTorch(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.randperm(6))


class DrawsFromAGenerator(Fine):
    def __init__(self):
        super().__init__()
        generator = torch.Generator()
        generator.seed()
        nn.init.normal_(self.linear.weight, generator=generator)


class Uninitialised(Fine):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.full((5,), torch.nan))  # what torch.empty may hold

    def forward(self, x):
        return self.linear(x)


class AllOnes(Fine):
    def __init__(self):
        super().__init__()
        nn.init.ones_(self.linear.weight)


class ZeroHead(Fine):
    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.linear.weight)


class Exploding(Fine):
    def __init__(self):
        super().__init__()
        nn.init.normal_(self.linear.weight, std=1e5)


class Transposed(Fine):
    def __init__(self):
        super().__init__()
        self.linear.weight = nn.Parameter(torch.randn(6, 5).T)


INPUT = (torch.randn(3, 6, generator=torch.Generator().manual_seed(0)),)
PICKLES = {"supports": {"state.pickle"}}
BUGS = [
    Bug("state.registered", ListOfLayers, ModuleListOfLayers, INPUT, "`layers[0]`, `layers[1]`"),
    Bug("state.registered", DictOfHeads, ModuleDictOfHeads, INPUT, "is a dict: use nn.ModuleDict"),
    Bug("state.registered", ListOfParameters, ParameterListOfParameters, INPUT, "use nn.ParameterList"),
    Bug(
        "state.registered", PlainTensor, Buffer, INPUT, 'self.register_buffer("mean", ..., persistent=False)'
    ),
    Bug("state.registered", LayerInTheClassBody, LayerOfTheInstance, INPUT, "is made in the class body"),
    Bug("state.registered", PriorAsAttribute, PriorInForward, INPUT, "`prior.loc`, `prior.scale`"),
    Bug("state.registered", RowsOfAWeight, RowsInForward, INPUT, "shares the memory of `linear.weight`"),
    Bug("state.roundtrip", ListOfLayers, ModuleListOfLayers, INPUT, "`layers[0].weight`, `layers[0].bias`"),
    Bug(
        "state.roundtrip", RandomProjection, SavedProjection, INPUT, "`projection`: a buffer with persistent"
    ),
    Bug("state.roundtrip", RandomScale, Fine, INPUT, "`scale`: a plain attribute"),
    Bug("state.roundtrip", RunningMeanAsTensor, RunningMeanAsBuffer, INPUT, "`mean`: not registered"),
    Bug(
        "state.roundtrip", BufferMadeInForward, BufferMadeInInit, INPUT, "`count` appear after the first call"
    ),
    Bug("state.roundtrip", LoadIgnoresTheHead, Fine, INPUT, "gives another output"),
    Bug(
        "state.roundtrip", ExtraStateOfItsOwn, ExtraStateOfNumbers, INPUT, "`_extra_state` holds Options from"
    ),
    Bug("state.safetensors", FusedParts, SeparateParts, INPUT, "share memory: key = query"),
    Bug("state.safetensors", TiesCutByLoading, Tied, INPUT, "embed.weight = head.weight"),
    Bug(
        "state.safetensors",
        ExtraStateOfItsOwn,
        ExtraStateOfNumbers,
        INPUT,
        "`_extra_state` holds Options from",
    ),
    Bug("state.safetensors", LoadIgnoresTheHead, Fine, INPUT, "`linear.bias`"),
    Bug("state.pickle", LambdaAsAttribute, FunctionAsAttribute, INPUT, "`activation`, a function", PICKLES),
    Bug("state.pickle", PicklesWithoutState, Fine, INPUT, "gives another output", PICKLES),
    Bug("state.deepcopy", LambdaOverSelf, MethodOfSelf, INPUT, "`activation`: a function keeps looking"),
    Bug("state.deepcopy", CopiesShallowly, Fine, INPUT, "shares memory with the original"),
    Bug("state.deepcopy", TiesCutByCopying, Tied, INPUT, "embed.weight = head.weight"),
    Bug("state.deepcopy", old_weight_norm, new_weight_norm, INPUT, "`weight`, a Tensor"),
    Bug("state.seed", DrawsFromPython, DrawsFromTorch, INPUT, "the random numbers of python"),
    Bug("state.seed", DrawsFromAGenerator, Fine, INPUT, "`linear.weight`"),
    Bug("state.init", Uninitialised, Fine, INPUT, "`scale`"),
    Bug("state.init", AllOnes, Fine, INPUT, "`linear.weight`"),
    Bug("state.init", ZeroHead, Fine, INPUT, "the same for every sample"),
    Bug("state.init", Exploding, Fine, INPUT, "out of scale"),
    Bug("state.noncontiguous", Transposed, Fine, INPUT, "`linear.weight`"),
]
