"""One bug is one failure: what follows from it is named there, and the cause is the right one."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import tinynets as tn
from tinynets.testing.report.root_causes import ROOTS, depth, roots_of


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 8)
        self.b = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


class RunningMean(Base):
    memory: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(0).detach()
        self.memory = mean if self.memory is None else (self.memory + mean) / 2
        return super().forward(x + self.memory)


class CountsInABuffer(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return super().forward(x) * self.count


class KeepsItsHiddenState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 5, batch_first=True)
        self.hidden: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.hidden is not None and self.hidden.shape[1] != x.shape[0]:
            self.hidden = None
        y, hidden = self.rnn(x, self.hidden)
        self.hidden = hidden.detach()
        return y


class WritesToItsInput(Base):
    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return super().forward(x)


class BuildsALayerInForward(Base):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "head"):
            self.head = nn.Linear(5, 3)
        return self.head(super().forward(x))


class ReentrantCheckpoint(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(checkpoint(lambda y: torch.relu(self.a(y)), x, use_reentrant=True))


class TrainTakesNoMode(Base):
    def train(self) -> nn.Module:
        return super().train()


class TiedByData(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Linear(6, 6, bias=False)
        self.d = nn.Linear(6, 6, bias=False)
        self.d.weight.data = self.e.weight.data

    def forward(self, x: Tensor) -> Tensor:
        return self.d(torch.relu(self.e(x)))


class DeviceOfTheModule(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * torch.ones(6, device="cpu", dtype=x.dtype))


class DrawsAPlainTensor(Base):
    def __init__(self) -> None:
        super().__init__()
        self.noise = torch.randn(6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.noise)


class SoftmaxOverTheBatch(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(0)


class ModulesInAList(Base):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(5, 5)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](super().forward(x))


SEQUENCE = {KeepsItsHiddenState: "batch 7 6"}


@pytest.mark.parametrize(
    ("model", "root", "says"),
    [
        (RunningMean, "purity.history", "calls write memory: "),
        (CountsInABuffer, "purity.parameters", "count: other values"),
        (KeepsItsHiddenState, "modes.deterministic", "a call writes hidden"),
        (WritesToItsInput, "purity.inputs", "done by WritesToItsInput.forward itself"),
        (BuildsALayerInForward, "purity.parameters", "head: (nothing) -> a Linear"),
        (ReentrantCheckpoint, "gradients.reach", "checkpoint(use_reentrant=True)"),
        (TrainTakesNoMode, "runs.eval", "has a method train of its own: torch calls it as train(mode)"),
        (TiedByData, "state.deepcopy", "assign the parameter, not its .data"),
        (DeviceOfTheModule, "device.move", "mul got tensors on cpu and meta"),
        (DrawsAPlainTensor, "state.registered", 'self.register_buffer("noise", ...)'),
        (SoftmaxOverTheBatch, "batch.neighbour", "SoftmaxOverTheBatch.forward itself"),
        (ModulesInAList, "state.registered", "use nn.ModuleList"),
    ],
)
def test_one_bug_is_one_failure_with_its_cause(model: type[nn.Module], root: str, says: str) -> None:
    report = tn.testing.check_model(model, SEQUENCE.get(model, "batch 6"), on_fail="collect")
    assert [result.id for result in report.ranked("failed", "warned", "error")] == [root], str(report)
    message = report.message(report[root])
    assert says in message
    followers = report.followers(root)
    for id in followers:
        assert report[id].status == "skipped"
        assert report[id].note.startswith(f"follows from {root}: ")
        assert report[id].failure is not None
    assert (f"  and      {len(followers)} check" in message) == bool(followers)


def test_what_is_exempt_explains_warnings_only_and_what_is_not_selected_nothing() -> None:
    exempt = {"batch.neighbour": "contrastive"}
    report = tn.testing.check_model(
        SoftmaxOverTheBatch, "batch 6", expected_failures=exempt, groups="batch", on_fail="collect"
    )
    assert {result.id for result in report.bad} == {"batch.gradient", "batch.subset"}
    assert "batch.nan" in report.followers("batch.neighbour")
    alone = tn.testing.check_model(SoftmaxOverTheBatch, "batch 6", checks="batch.subset", on_fail="collect")
    assert [result.id for result in alone.bad] == ["batch.subset"]


def test_a_warning_does_not_explain_a_failure_away() -> None:
    class KeepsAndMixes(SoftmaxOverTheBatch):
        def forward(self, x: Tensor) -> Tensor:
            self.last = x.shape[0]
            return super().forward(x)

    report = tn.testing.check_model(KeepsAndMixes, "batch 6", on_fail="collect")
    found = [result.id for result in report.ranked("failed", "warned")]
    assert found == ["purity.attributes", "batch.neighbour"]


def test_every_pattern_names_a_check_and_no_two_causes_explain_each_other() -> None:
    ids = [check.id for check in tn.testing.list_checks()]
    for root, patterns in ROOTS.items():
        assert root in ids
        for pattern in patterns:
            assert any(fnmatchcase(id, pattern) for id in ids), pattern
        assert all(depth(deeper) < depth(root) for deeper in roots_of(root))


class Ragged(Base):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        assert x.shape[1] == int(lengths.max()), "the longest fills the batch"
        steps = torch.arange(x.shape[1], device=x.device)
        mask = (steps < lengths[:, None])[..., None].to(x.dtype)
        return super().forward((x * mask).sum(1) / lengths[:, None].to(x.dtype))


def ragged(batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    lengths = torch.randint(1, 8, (batch_size,), generator=generator)
    lengths[:1] = 7
    return torch.randn(batch_size, 7, 6, generator=generator), lengths


def test_make_inputs_says_what_ranges_cannot() -> None:
    options: dict[str, Any] = {"groups": ["runs", "modes", "purity"], "on_fail": "collect"}
    report = tn.testing.check_model(Ragged, make_inputs=ragged, **options)
    assert report.ok, str(report)

    def by_name(batch_size: int, generator: torch.Generator) -> dict[str, Tensor]:
        x, lengths = ragged(batch_size, generator)
        return {"x": x, "lengths": lengths}

    assert tn.testing.check_model(Ragged, make_inputs=by_name, **options).ok
    with pytest.raises(TypeError, match="make_inputs makes all the inputs: pass no others beside it"):
        tn.testing.check_model(Ragged, "batch 7 6", make_inputs=ragged)
