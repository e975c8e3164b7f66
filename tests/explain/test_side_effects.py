"""Explaining a model changes nothing: one test for each thing that could change."""

import copy
import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

import tinynets as tn

from .nets import Modes, NeedsValues

BOTH = pytest.mark.parametrize("on", ["fake", "real"])


@BOTH
def test_batch_norm_keeps_its_statistics(on) -> None:
    model = Modes()
    before = copy.deepcopy(model.state_dict())
    tn.explain(model, torch.rand(4, 8), on=on)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@BOTH
def test_no_random_number_is_drawn(on) -> None:
    torch.manual_seed(0)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    tn.explain(Modes(), "batch 8", on=on)
    torch.manual_seed(0)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert np.array_equal(states[2], np.random.get_state()[1])


def test_random_state_itself_is_left() -> None:
    model = NeedsValues()
    state = torch.get_rng_state()
    tn.explain(model, "batch 4")
    assert torch.equal(state, torch.get_rng_state())


@BOTH
def test_modes_stay_per_module(on) -> None:
    model = Modes()
    model.norm.eval()
    tn.explain(model, "batch 8", on=on, modes=("eval", "train"))
    assert [module.training for module in model.modules()] == [True, False, True, True]


@BOTH
def test_hooks_stay_and_are_not_run(on) -> None:
    model, seen = Modes(), []
    model.register_forward_hook(lambda *arguments: seen.append(arguments))
    explanation = tn.explain(model, "batch 8", on=on)
    assert not seen
    assert "1 hooks of your own were not run" in explanation.run.notes
    model(torch.rand(4, 8))
    assert len(seen) == 1


@BOTH
def test_gradients_and_requires_grad_stay(on) -> None:
    model = Modes()
    model.plain.weight.requires_grad_(False)
    inputs = torch.rand(4, 8, requires_grad=True)
    tn.explain(model, inputs, on=on)
    assert [p.requires_grad for p in model.plain.parameters()] == [False, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert inputs.grad is None
    assert inputs.requires_grad


def test_weights_are_not_read_or_written() -> None:
    model = Modes()
    versions = [tensor._version for tensor in (*model.parameters(), *model.buffers())]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    tn.explain(model, "batch 8")
    assert [t._version for t in model.buffers()] == versions[-3:]


def test_attributes_stay() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0
            self.kept = []

        def forward(self, x):
            self.calls += 1
            self.kept.append(x)
            return x * 2

    model = Counts()
    tn.explain(model, "batch 8")
    assert (model.calls, model.kept) == (0, [])


def test_models_that_cannot_be_copied_whole() -> None:
    class Locked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = sys.stdout
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x):
            return self.norm(x)

    model = Locked()
    assert not tn.explain(model, "batch 8").failed
    assert int(model.norm.num_batches_tracked) == 0


def test_the_trace_function_of_a_debugger_comes_back() -> None:
    def trace(*_):
        return None

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        tn.explain(Modes(), "batch 8")
        assert sys.gettrace() is trace
    finally:
        sys.settrace(previous)


def test_a_model_on_meta() -> None:
    with torch.device("meta"):
        model = Modes()
    explanation = tn.explain(model, "batch 8")
    assert explanation.run.method == "symbolic"
    assert not explanation.failed


def test_ten_billion_parameters() -> None:
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(32_768, 32_768, bias=False) for _ in range(10)))
    explanation = tn.explain(model, "batch 32768")
    assert explanation.run.parameters == 10 * 2**30
    assert explanation.run.macs.formula == "10,737,418,240·batch"


def test_grad_mode_is_the_users() -> None:
    with torch.inference_mode():
        run = tn.explain(Modes().eval(), "batch 8").run
    assert (run.grad, run.saved.value) == ("inference", 0)
    with torch.no_grad():
        assert tn.explain(Modes(), "batch 8").run.grad == "grad off"
