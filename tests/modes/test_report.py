"""`mode_report` says what the modes are and what eval() would not switch, and changes nothing."""

from __future__ import annotations

import random
from pathlib import Path

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tinynets.modes import freeze, mode_report

GOLDENS = Path(__file__).parent / "goldens"


class Head(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


class Hides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.1))
        self.blocks = [nn.Linear(4, 4), nn.Sequential(nn.Dropout(0.2))]
        self.heads = {"a": (Head(),)}
        self.again = [self.stem]  # registered as well, so that eval() reaches it
        self.head = Head()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_repr() -> None:
    model = Hides()
    freeze(model.stem[1])
    model.stem[2].eval()
    text = repr(mode_report(model, torch.randn(3, 4)))
    assert text + "\n" == (GOLDENS / "report.txt").read_text()


def test_repr_without_an_input() -> None:
    text = repr(mode_report(nn.Sequential(nn.Linear(1, 1), nn.ReLU()).eval()))
    assert text + "\n" == (GOLDENS / "report_plain.txt").read_text()


def test_html_is_escaped() -> None:
    model = nn.ModuleDict({"<b>": nn.Dropout()})
    page = mode_report(model)._repr_html_()
    assert "<td>&lt;b&gt;</td>" in page
    assert "<td><b>" not in page


def test_fields() -> None:
    model = Hides()
    report = mode_report(model)
    assert [row.path for row in report.rows] == [path for path, _ in model.named_modules()]
    assert [row.path for row in report.unreached] == [
        "blocks[0]",
        "blocks[1]",
        "blocks[1].0",
        "heads['a'][0]",
    ]
    assert report.random_in_eval is None
    assert mode_report(model, torch.randn(3, 4)).random_in_eval == ("head",)


class Random(nn.Module):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        draw = {
            "torch": lambda: torch.rand(()),
            "python": random.random,
            "numpy": numpy.random.rand,
            "none": lambda: 0,
        }
        return {"y": x + draw[self.source]()}


@pytest.mark.parametrize("source", ["torch", "python", "numpy", "none"])
def test_every_random_state_buffer_and_mode_is_as_before(source: str) -> None:
    model = nn.Sequential(Random(source), Takes())
    torch.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)
    expected = torch.rand(1), random.random(), numpy.random.rand()
    torch.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)
    report = mode_report(model, torch.zeros(2))
    assert report.random_in_eval == (() if source == "none" else ("0",))
    assert (torch.rand(1), random.random(), numpy.random.rand()) == expected
    assert all(module.training for module in model.modules())
    assert model[0].calls == 0
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks


class Takes(nn.Module):
    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return x["y"]


def test_a_model_that_fails_leaves_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(3, 3))
    with pytest.raises(RuntimeError):
        mode_report(model, torch.zeros(1, 2))
    assert not any(module._forward_hooks for module in model.modules())
    assert model.training


def test_hidden_batch_norm_keeps_its_statistics() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = [nn.BatchNorm1d(2)]

        def forward(self, x: Tensor) -> Tensor:
            return self.norms[0](x)

    model = Model()
    assert mode_report(model, torch.randn(4, 2)).random_in_eval == ()
    assert model.norms[0].num_batches_tracked == 0
    assert model.norms[0].training


def test_wrong_argument() -> None:
    with pytest.raises(TypeError, match=r"mode_report\(\) takes models"):
        mode_report("model")
