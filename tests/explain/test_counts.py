"""Numbers, compared with counters that somebody else wrote."""

import time

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import tinynets as tn

from .nets import Loop, Modes


def macs_by_torch(model: nn.Module, inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    return counter.get_total_flops() // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", tn.list_models())
def test_zoo_agrees_with_the_flop_counter(name: str) -> None:
    model = tn.create_model(name).eval()
    explanation = tn.explain(model)
    run = explanation.run
    assert (run.method, run.error, run.tied) == ("symbolic", "", ())
    assert run.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert not run.unused
    assert all(line.verdict != "≠" for _, _, line in run.frame.walk())
    shape = run.frame.arguments[0].sizes
    with torch.device("meta"):
        inputs = torch.empty(shape)
    assert run.macs.value == macs_by_torch(model.to("meta"), inputs)


def test_macs_of_lines_add_up() -> None:
    run = tn.explain(tn.CifarMLP(), torch.rand(4, 3, 32, 32)).run
    assert (
        sum(line.macs.value for line in run.frame.lines)
        == run.macs.value
        == macs_by_torch(tn.CifarMLP(), torch.rand(4, 3, 32, 32))
    )


def test_tied_weights_count_once() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    model[2].weight = model[0].weight
    run = tn.explain(model, "batch 8").run
    assert run.parameters == 64 + 8 + 8


def test_saved_bytes_are_what_autograd_keeps() -> None:
    model, inputs = Modes(), torch.rand(6, 8)
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = model(inputs)
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    expected = sum(t.numel() * t.element_size() for key, t in kept.items() if key not in own)
    assert result.requires_grad
    assert tn.explain(Modes(), inputs, on="real").run.saved.value == expected


def test_new_memory_of_a_line() -> None:
    lines = tn.explain(Loop(1), "batch=3 8").lines
    assert lines[1].allocated.value == 2 * 3 * 8 * 4  # the linear layer's output and the sum
    assert lines[1].allocated.formula == "64 B·batch"


def test_a_small_model_takes_no_time() -> None:
    model = tn.TinyVisionMLP()
    tn.explain(model)
    times = []
    for _ in range(3):
        start = time.process_time()
        tn.explain(model)
        times.append(time.process_time() - start)
    assert min(times) < 0.2


@pytest.mark.slow
def test_a_hundred_layers_take_three_seconds() -> None:
    model = tn.create_model("resnet110")
    start = time.process_time()
    tn.explain(model)
    assert time.process_time() - start < 5  # 3 s alone on one core; a shared one is slower
