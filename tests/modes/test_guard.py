"""The forgotten switch: an alarm when it matters, and none when it does not."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tinynets as tn
from tinynets.modes import approved, evaluating, guard, inference, training
from tinynets.modes.train_sensitivity import train_behaviour

GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(autouse=True)
def under_inference_mode() -> Iterator[None]:
    with torch.inference_mode():
        yield


def alarm(model: nn.Module) -> str:
    with pytest.raises(tn.ModeError) as caught:
        guard(model)
    return str(caught.value)


def golden(name: str, text: str) -> None:
    assert text + "\n" == (GOLDENS / f"{name}.txt").read_text()
    assert len(text.splitlines()) <= 12
    assert max(map(len, text.splitlines())) <= 110


class Digits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.1)


class TestMessages:
    def test_layers(self) -> None:
        golden("layers", alarm(Digits()))

    def test_submodule_only(self) -> None:
        model = Digits().eval()
        model.dropout.train()
        golden("submodule", alarm(model))

    def test_many_layers(self) -> None:
        blocks = [nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5)) for _ in range(30)]
        golden("many", alarm(nn.Sequential(*blocks, nn.BatchNorm1d(4), nn.BatchNorm1d(4))))

    def test_the_model_itself(self) -> None:
        golden("itself", alarm(tn.TinyVisionMLP()))

    def test_fields_and_pickling(self) -> None:
        with pytest.raises(tn.ModeError) as caught:
            guard(Digits())
        error = pickle.loads(pickle.dumps(caught.value))
        assert (error.expected, error.got) == ("eval mode", "train mode: norm, dropout")
        assert str(error) == str(caught.value)


def test_a_call_of_a_tinynets_module_raises() -> None:
    model, x = tn.TinyVisionMLP(), torch.zeros(1, 1, 28, 28)
    with pytest.raises(tn.ModeError):
        model(x)
    model.eval()
    model(x)
    model.train()
    with inference(model):
        model(x)
    with inference(model, keep_training=model):
        model(x)
    tn.TinyVisionMLP(dropout=0.0)(x)


class ReadsInHelper(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self._noisy(x)

    def _noisy(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) if self.training else x


class ReadsInProperty(nn.Module):
    @property
    def active(self) -> bool:
        return self.training

    def forward(self, x: Tensor) -> Tensor:
        return next(y for y in (x,) if self.active)


class ReadsInClosure(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (lambda: x + 1 if self.training else x)()


class ReadsOutsideForward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x

    def extra_repr(self) -> str:
        return f"training={self.training}"


class DropPath(nn.Module):
    """As timm and torchvision write stochastic depth."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        if self.drop_prob == 0.0 or not self.training:
            return x
        return x * (torch.rand(x.shape[0]) > self.drop_prob)


class DropoutAndNoise(nn.Module):
    """Zero dropout does not excuse the noise."""

    dropout = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + torch.randn_like(x)
        return F.dropout(x, self.dropout, self.training)


class FrozenBatchNorm(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class BatchNormAndMore(nn.BatchNorm1d):
    """Does not say what a BatchNorm does in training, but calls it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class AlwaysOn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, training=True)  # random in both modes: not a matter of the mode


SENSITIVE = {
    "dropout": lambda: nn.Dropout(0.1),
    "dropout2d": lambda: nn.Dropout2d(0.1),
    "alpha dropout": lambda: nn.AlphaDropout(0.1),
    "batch norm": lambda: nn.BatchNorm2d(3),
    "sync batch norm": lambda: nn.SyncBatchNorm(3),
    "instance norm": lambda: nn.InstanceNorm1d(3, track_running_stats=True),
    "rrelu": nn.RReLU,
    "attention": lambda: nn.MultiheadAttention(4, 2, dropout=0.1),
    "lstm": lambda: nn.LSTM(2, 2, num_layers=2, dropout=0.1),
    "transformer": lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1),
    "deep inside": lambda: nn.Sequential(nn.ModuleList([nn.ModuleDict({"a": nn.Dropout()})])),
    "in a helper": ReadsInHelper,
    "in a property": ReadsInProperty,
    "in a closure": ReadsInClosure,
    "stochastic depth": lambda: DropPath(0.1),
    "noise beside zero dropout": DropoutAndNoise,
    "subclass": lambda: BatchNormAndMore(3),
}
INSENSITIVE = {
    "containers": lambda: nn.Sequential(
        nn.ModuleList([nn.Linear(1, 1)]), nn.ModuleDict({"a": nn.Conv2d(1, 1, 1)})
    ),
    "dropout 0": lambda: nn.Dropout(0.0),
    "batch norm without statistics": lambda: nn.BatchNorm1d(3, track_running_stats=False),
    "instance norm": lambda: nn.InstanceNorm1d(3),
    "layer norm": lambda: nn.LayerNorm(3),
    "rrelu of one slope": lambda: nn.RReLU(0.1, 0.1),
    "attention": lambda: nn.MultiheadAttention(4, 2),
    "lstm": lambda: nn.LSTM(2, 2, num_layers=2),
    "lstm of one layer": lambda: nn.Sequential(nn.Flatten(), nn.GRU(2, 2)),
    "transformer without dropout": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), 2
    ),
    "read outside forward": ReadsOutsideForward,
    "stochastic depth 0": lambda: DropPath(0.0),
    "frozen batch norm": lambda: FrozenBatchNorm(3),
    "always on": AlwaysOn,
    "lazy": lambda: nn.LazyLinear(2),
    "functional dropout 0": lambda: tn.CifarMLP(dropout=0.0),
    "absent child": lambda: _with_absent_child(),
}


def _with_absent_child() -> nn.Module:
    model = nn.Linear(1, 1)
    model.register_module("absent", None)
    return model


@pytest.mark.parametrize("make", SENSITIVE.values(), ids=SENSITIVE)
def test_alarm(make: type) -> None:
    alarm(make())
    guard(make().eval())


@pytest.mark.parametrize("make", INSENSITIVE.values(), ids=INSENSITIVE)
def test_no_false_alarm(make: type) -> None:
    guard(make())


@pytest.mark.slow
def test_every_layer_of_torch_is_sensitive_only_if_it_is_known_to_be() -> None:
    """A new layer of torch that reads the flag would be missed: this finds it."""
    import inspect

    reading = {
        name
        for name, cls in vars(nn).items()
        if isinstance(cls, type)
        and issubclass(cls, nn.Module)
        and cls is not nn.Module
        and "self.training" in inspect.getsource(cls)
    }
    known = {"RReLU", "MultiheadAttention", "LSTM", "GRU", "RNN", "SyncBatchNorm", "TransformerEncoderLayer"}
    dropouts = {name for name in vars(nn) if name.endswith("Dropout") or name.startswith("Dropout")}
    assert reading <= known | dropouts


class TestModesAndTheGuard:
    def test_keep_training_is_explicit(self) -> None:
        model = Digits()
        with inference(model, keep_training="norm"):
            guard(model)
        with evaluating(model, keep_training=nn.Dropout):
            guard(model)
        alarm(model)

    def test_training_inside_takes_the_approval_back(self) -> None:
        with torch.inference_mode(False):
            model = Digits()
        with inference(model):
            with training(model), torch.inference_mode():
                alarm(model)
            guard(model)

    def test_approval_ends_with_the_last_block_in_any_order(self) -> None:
        model = Digits()
        first, second = inference(model), evaluating(model)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert model in approved
        second.__exit__(None, None, None)
        assert not approved
        alarm(model)

    def test_a_model_added_inside_is_not_approved(self) -> None:
        outer = nn.Sequential(nn.Linear(1, 1))
        with inference(outer):
            outer.append(Digits())
            alarm(outer[1])

    def test_part_of_an_approved_model(self) -> None:
        model = nn.Sequential(Digits())
        with inference(model):
            guard(model[0])

    def test_a_module_registered_below_itself_does_not_hang(self) -> None:
        model = nn.Linear(1, 1)
        model.parent = model
        guard(model)


def test_descriptions() -> None:
    assert train_behaviour(nn.Dropout(0.25)) == "zeroes values, p=0.25"
    assert train_behaviour(nn.LSTM(1, 1, 3, dropout=0.5)) == "dropout p=0.5 between layers"
    assert train_behaviour(DropPath(0.2)) == "reads self.training, drop_prob=0.2"
    assert train_behaviour(tn.TinyVisionMLP(dropout=0.3)) == "reads self.training, dropout=0.3"


def test_classes_made_by_exec() -> None:
    namespace: dict[str, type[nn.Module]] = {}
    code = "class M(Base):\n    def forward(self, x):\n        return x if self.training else -x\n"
    exec(code, {"Base": nn.Module}, namespace)  # its functions have no __module__
    assert train_behaviour(namespace["M"]()) == "reads self.training"
