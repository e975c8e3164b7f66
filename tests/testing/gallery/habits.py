"""Models with habits that no call in eval mode shows: in the constructor, in containers, in training."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from .bug import Bug
from .fine import INPUT, Fine

# -- constructors -------------------------------------------------------------------------------------


class SeedsInInit(Fine):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__()


class SetsADefaultDtypeInInit(Fine):
    def __init__(self):
        super().__init__()
        torch.set_default_dtype(torch.float64)


class OneBlockThrice(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*[nn.Linear(6, 6)] * 3)

    def forward(self, x):
        return self.blocks(x)


class ThreeBlocks(OneBlockThrice):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*[nn.Linear(6, 6) for _ in range(3)], nn.ReLU(), nn.ReLU())


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 6, padding_idx=0)

    def forward(self, x):
        return self.embed(x)


class FillsThePadding(Words):
    def __init__(self):
        super().__init__()
        nn.init.normal_(self.embed.weight)


# -- modes --------------------------------------------------------------------------------------------


class Thaws(Fine):
    def __init__(self):
        super().__init__()
        self.norm.requires_grad_(False)


class StaysFrozen(Thaws):
    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self


class CameFrozen(Fine):
    def __init__(self):
        super().__init__()
        self.norm.eval()


class MixesInTraining(Fine):
    def forward(self, x):
        y = super().forward(x)
        return (y + y.mean(0)) / 2 if self.training else y


class DropsInTraining(Fine):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.2, self.training)


# -- what does nothing --------------------------------------------------------------------------------


class ForgetsTheActivation(Fine):
    def __init__(self):
        super().__init__()
        self.gelu = nn.GELU()


class CallsTheActivation(ForgetsTheActivation):
    def forward(self, x):
        return self.gelu(super().forward(x))


class AddsInVain(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("position", torch.randn(6))

    def forward(self, x):
        x + self.position
        return super().forward(x)


class Adds(AddsInVain):
    def forward(self, x):
        return Fine.forward(self, x + self.position)


# -- checkpoints --------------------------------------------------------------------------------------


class ForgetsTheRandomState(Fine):
    preserve = False

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout()

    def forward(self, x):
        def hidden(y):
            return self.drop(F.relu(self.fc1(y)))

        kept = self.preserve
        return self.fc2(checkpoint(hidden, x, use_reentrant=False, preserve_rng_state=kept))


class KeepsTheRandomState(ForgetsTheRandomState):
    preserve = True


WORDS = (torch.randint(0, 9, (4, 5), generator=torch.Generator().manual_seed(0)),)
BUGS = [
    Bug("state.globals", SeedsInInit, Fine, INPUT, "seeds the random generator of torch"),
    Bug("state.globals", SetsADefaultDtypeInInit, Fine, INPUT, "torch.get_default_dtype(): torch.float32 ->"),
    Bug("state.repeated", OneBlockThrice, ThreeBlocks, INPUT, "`blocks.0 = blocks.1 = blocks.2`"),
    Bug("state.padding_row", FillsThePadding, Words, WORDS, "`embed.weight[0]`"),
    Bug("modes.frozen", Thaws, StaysFrozen, INPUT, "`norm`"),
    Bug("modes.frozen", CameFrozen, StaysFrozen, INPUT, "1 of 1 frozen batch norms"),
    Bug("batch.training", MixesInTraining, DropsInTraining, INPUT, "in training mode only"),
    Bug("runs.unused", ForgetsTheActivation, CallsTheActivation, INPUT, "`gelu`"),
    Bug("runs.buffers", AddsInVain, Adds, INPUT, "`position`"),
    Bug("gradients.recompute", ForgetsTheRandomState, KeepsTheRandomState, INPUT, "from `drop` (Dropout) on"),
]
