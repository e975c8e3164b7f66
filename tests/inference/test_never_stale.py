"""Whatever is changed in a model, the next call computes what the model computes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import tinynets as tn
from tinynets._inference import optimized

from . import nets

Change = Callable[[nets.Net], object]
X = torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(0))


def train_a_step(model: nets.Net, **options: bool) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **options)
    with tn.training(model):
        model(X).square().sum().backward()
        optimizer.step()


def double(module: nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
    return output * 2


def set_data(model: nets.Net) -> None:
    model.head.weight.data = torch.randn(3, 6)


def set_array(model: nets.Net) -> None:
    model.head.weight.detach().numpy()[:] += 1


def load(model: nets.Net, **options: bool) -> None:
    model.load_state_dict({name: t + 1 for name, t in model.state_dict().items()}, **options)


def tie(model: nets.Net) -> None:
    model.head.bias = nn.Parameter(torch.randn(3))
    model.hidden[0].bias = model.head.bias


def untie(model: nets.Net) -> None:
    tie(model)
    model.head.bias = nn.Parameter(torch.randn(3))


def patch_forward(model: nets.Net) -> None:
    model.head.forward = lambda x: F.linear(x, model.head.weight)


def grow(model: nets.Net) -> None:
    model.head = nn.Linear(6, 3, bias=False)


def drop_bias(model: nets.Net) -> None:
    model.head.bias = None


# What a straight line reads where it is.
VALUES: dict[str, Change] = {
    "optimizer": train_a_step,
    "fused optimizer": lambda model: train_a_step(model, fused=True),
    "foreach optimizer": lambda model: train_a_step(model, foreach=True),
    "load_state_dict": load,
    "data.add_": lambda model: model.head.weight.data.add_(1),
    "NumPy view": set_array,
    "unregistered tensor": lambda model: model.shift.add_(1),
    "unregistered module": lambda model: model.hidden[0].weight.data.add_(1),
    "running statistics": lambda model: model.norm.running_mean.add_(1),
    "momentum": lambda model: setattr(model.norm, "momentum", 0.5),  # which inference does not read
}
# What is found at the next call, and leads to another binding or another trace.
STRUCTURE: dict[str, Change] = {
    "load_state_dict, assign": lambda model: load(model, assign=True),
    "data": set_data,
    "parameter": lambda model: setattr(model.head, "weight", nn.Parameter(torch.randn(3, 6))),
    "buffer": lambda model: setattr(model, "offset", torch.ones(3)),
    "tied": tie,
    "untied": untie,
    "bias dropped": drop_bias,
    "submodule": lambda model: setattr(model, "head", nn.Linear(6, 3)),
    "submodule of another kind": lambda model: setattr(
        model, "head", nn.Sequential(nn.Linear(6, 3), nn.Tanh())
    ),
    "submodule without bias": grow,
    "unregistered tensor, another": lambda model: setattr(model, "shift", torch.ones(3)),
    "unregistered module, another": lambda model: model.hidden.__setitem__(0, nn.Linear(3, 3)),
    "eps": lambda model: setattr(model.norm, "eps", 0.5),
    "number": lambda model: setattr(model, "slope", 0.1),
    "list": lambda model: model.steps.__setitem__(0, 3.0),
    "object": lambda model: setattr(model.settings, "scale", 3.0),
    "forward of an instance": patch_forward,
    "batch statistics": lambda model: (
        setattr(model.norm, "running_mean", None) or setattr(model.norm, "running_var", None)
    ),
    "hook": lambda model: model.head.register_forward_hook(double),
    "hook on the model": lambda model: model.register_forward_hook(double),
    "pre-hook": lambda model: model.head.register_forward_pre_hook(lambda m, args: (args[0] + 1,)),
    "weight norm": lambda model: parametrizations.weight_norm(model.head),
    "spectral norm": lambda model: parametrizations.spectral_norm(model.head),
    "parametrization": lambda model: parametrize.register_parametrization(model.head, "weight", nn.Tanh()),
    "prune": lambda model: prune.l1_unstructured(model.head, "weight", 0.5),
    "bfloat16 head": lambda model: model.head.to(torch.bfloat16) and model.hidden[0].to(torch.bfloat16),
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
    "freeze": lambda model: tn.freeze(model),
    "train": lambda model: model.train(),
    "eval": lambda model: model.eval(),
    "training": lambda model: setattr(model.drop, "training", True),
}


def check(fast: Any, model: nets.Net) -> None:
    """Compare with the model: two calls, since the first may go to the model itself."""
    for _ in range(2):
        error = nets.error_of(lambda: tn.inference(model)(model)(X))
        if error is None:
            assert nets.equal(fast, model, X)
        else:
            found = nets.error_of(lambda: fast(X))
            assert (type(found), str(found)) == (type(error), str(error))


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("optimizer", "load_state_dict", "NumPy view")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in VALUES
    ],
)
def test_values_are_read_where_they_are(name: str) -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    before = fast(X)
    VALUES[name](model)
    assert nets.took_a_line(fast, X) or name == "momentum"
    assert name == "momentum" or not torch.equal(fast(X), before), "the change was none"
    check(fast, model)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRUCTURE)
def test_other_changes_are_seen(name: str) -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    before = fast(X)
    STRUCTURE[name](model)
    check(fast, model)
    if name not in ("channels last", "freeze", "train", "eval", "training", "bfloat16 head", "weight norm"):
        assert not torch.equal(fast(X), before), "the change was none"
    hooked = name in ("hook", "hook on the model", "pre-hook", "prune")
    if name != "bfloat16 head":
        assert nets.took_a_line(fast, X) != hooked
    assert ("a hook has to run" in repr(fast)) == hooked


@pytest.mark.slow
def test_a_class_that_is_patched_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: F.linear(x, self.weight))
    check(fast, model)
    monkeypatch.setattr(nets.Net, "factor", 4.0)
    check(fast, model)
    monkeypatch.setitem(nets.Net.gains, "first", 3.0)
    check(fast, model)
    monkeypatch.setattr(nets.Net, "gains", {"first": 5.0})
    check(fast, model)
    assert nets.took_a_line(fast, X)


@pytest.mark.slow
def test_a_global_hook_is_seen() -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    handle = nn.modules.module.register_module_forward_hook(double)
    try:
        check(fast, model)
        assert not nets.took_a_line(fast, X)
    finally:
        handle.remove()
    check(fast, model)
    assert nets.took_a_line(fast, X)


def test_a_hook_that_is_removed_leads_back_to_the_line() -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    handle = model.head.register_forward_hook(double)
    check(fast, model)
    handle.remove()
    check(fast, model)
    assert nets.took_a_line(fast, X)


@pytest.mark.slow
def test_another_tensor_needs_no_other_trace() -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    traces = fast._traces
    load(model, assign=True)
    model.offset = torch.ones(3)
    model.train()
    with warnings.catch_warnings(action="ignore"):
        torch.compile(model)  # which leaves a mark on it
    check(fast, model)
    assert fast._traces == traces


def test_a_weight_that_a_patched_forward_reaches_by_a_closure_is_read_where_it_is() -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    patch_forward(model)
    check(fast, model)
    for name in ("data", "parameter", "load_state_dict, assign"):
        STRUCTURE[name](model)
        check(fast, model)
    assert nets.took_a_line(fast, X)


def test_a_change_by_another_thread_while_it_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nets.net()
    fast = optimized.OptimizedModel(model)

    def slowly(*args: Any, **options: Any) -> Any:
        traced = trace(*args, **options)
        STRUCTURE["parameter"](model)
        return traced

    trace = optimized.trace
    monkeypatch.setattr(optimized, "trace", slowly)
    fast(X)
    assert "the model was changed while it was traced" in repr(fast)
    monkeypatch.undo()
    check(fast, model)
    assert nets.took_a_line(fast, X)


@pytest.mark.slow
def test_turning_checks_off_and_on_is_seen() -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    with tn.checks(False):
        assert nets.equal(fast, model, X)
        assert nets.equal(fast, model, X)
    check(fast, model)


def test_nothing_hides_a_training_block() -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    with tn.training(model), pytest.raises(tn.ModeError) as caught:
        fast(X)
    assert str(caught.value) == (
        "optimize_for_inference(Net) always computes in eval mode, but an open block holds Net in train mode\n"
        "  Call it outside of that block, or call the model itself."
    )
    with tn.training(model), tn.inference(model):
        assert nets.took_a_line(fast, X)
    with tn.inference(model, keep_training=nn.Dropout), pytest.raises(tn.ModeError, match="holds Dropout"):
        fast(X)
    with tn.training(copy.deepcopy(model)):
        assert nets.took_a_line(fast, X)


NAMES = sorted({**VALUES, **STRUCTURE}.keys() - {"channels last", "freeze"})


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5))
def test_no_sequence_of_changes_leaves_it_behind(changes: list[str]) -> None:
    model = nets.net()
    fast = tn.optimize_for_inference(model, X)
    for name in changes:
        try:
            {**VALUES, **STRUCTURE}[name](model)
        except Exception:
            continue  # such as a second parametrization of what is pruned
        check(fast, model)
