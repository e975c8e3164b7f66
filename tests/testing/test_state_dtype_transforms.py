"""The checks of state, dtypes, layouts, devices and transforms: no false alarms, and the model is handed back."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import tinynets as tn
from tinynets.testing.measure.compare import same_bits
from tinynets.testing.measure.state_compare import state_difference_cause

GROUPS = ("state", "dtype", "layout", "device", "transforms")
GENERATOR = torch.Generator().manual_seed(0)
SEQUENCE = torch.randn(4, 5, 8, generator=GENERATOR)
IMAGES = torch.randn(4, 4, 5, 5, generator=GENERATOR)
STOCK = {
    "MultiheadAttention": (partial(nn.MultiheadAttention, 8, 2, batch_first=True), (SEQUENCE,) * 3),
    "TransformerEncoderLayer": (
        partial(nn.TransformerEncoderLayer, 8, 2, 16, batch_first=True),
        (SEQUENCE,),
    ),
    "GRU": (partial(nn.GRU, 8, 5, batch_first=True), (SEQUENCE,)),
    "LSTM": (partial(nn.LSTM, 8, 5, batch_first=True), (SEQUENCE,)),
    "GroupNorm": (partial(nn.GroupNorm, 2, 4), (IMAGES,)),  # torch 2.13 can crash on it: see layout.py
    "ReLU": (partial(nn.ReLU, inplace=True), (IMAGES,)),
    "Embedding": (partial(nn.Embedding, 10, 4), (torch.arange(8).reshape(4, 2),)),
    "FractionalMaxPool2d": (partial(nn.FractionalMaxPool2d, 2, output_size=3), (IMAGES,)),
}


@pytest.mark.parametrize("name", STOCK)
def test_a_module_of_torch_raises_no_alarm(name):
    factory, inputs = STOCK[name]
    report = tn.testing.check_model(factory, *inputs, groups=GROUPS, on_fail="collect")
    assert not report.with_status("failed", "warned"), report


def test_what_a_hook_computes_is_no_hidden_state():
    layer = nn.utils.spectral_norm(nn.Linear(6, 5))
    pruned = nn.Linear(6, 5)
    prune.l1_unstructured(pruned, "weight", 0.5)
    for model in (layer, pruned):
        report = tn.testing.check_model(model, torch.randn(4, 6), groups=("state",), on_fail="collect")
        assert report["state.registered"].status == "passed", report["state.registered"].message


def test_tied_weights_are_noted_where_the_format_matters():
    from .gallery.state import INPUT, Tied

    report = tn.testing.check_model(Tied, *INPUT, groups=("state", "device"), on_fail="collect")
    assert report["state.safetensors"].note.startswith("tied: embed.weight = head.weight;")
    assert report["device.meta_init"].note == "to_empty() cuts ties: embed.weight = head.weight"


def test_an_attribute_that_is_nan_in_both_models_is_no_difference():
    class Scaled(nn.Module):
        def __init__(self, scale: float):
            super().__init__()
            self.low, self.scale = math.nan, scale

    assert state_difference_cause(Scaled(1.0), Scaled(1.0)) == ""
    assert state_difference_cause(Scaled(1.0), Scaled(2.0)).startswith("`scale`: a plain attribute")


@pytest.mark.parametrize("fault", [1.0, 1.01])
def test_gradients_that_only_batch_norm_gets_wrong_under_vmap_are_not_the_models_fault(fault):
    """What vmap over torch's own batch norm does in LeViT and XCiT (timm), made here by hand."""

    class Norm(nn.BatchNorm1d):
        def forward(self, x):
            return super().forward(x) * (fault if torch._C._functorch.is_functorch_wrapped_tensor(x) else 1.0)

    model = nn.Sequential(nn.Linear(6, 5), Norm(5), nn.Linear(5, 3))
    report = tn.testing.check_model(model, torch.randn(4, 6), groups=("transforms",), on_fail="collect")
    result = report["transforms.per_sample_grads"]
    assert result.status == ("passed" if fault == 1.0 else "skipped"), result
    assert fault == 1.0 or "torch's vmap over batch_norm" in result.note


@pytest.mark.slow
def test_the_model_is_handed_back():
    """Compiled, exported, converted, hooked: and then as it was, to the attribute."""
    model = tn.models.CifarResNet(depth=8)
    images = torch.rand(4, 3, 32, 32)
    expected = model.eval()(images)
    attributes = {path: dict(vars(module)) for path, module in model.named_modules()}
    parameters = dict(model.named_parameters())
    state = copy.deepcopy(model.state_dict())
    report = tn.testing.check_model(model, groups=GROUPS, slow=True, on_fail="collect", timeout=None)
    assert report["transforms.compile"].status == report["transforms.export"].status == "passed", report
    assert {path: dict(vars(module)) for path, module in model.named_modules()} == attributes
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(same_bits(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(tensor.stride() == state[name].stride() for name, tensor in model.state_dict().items())
    assert same_bits(model(images), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_values_are_compared_on_a_gpu():
    class Rounds(nn.Linear):
        def forward(self, x):
            return super().forward(x).half().float() if x.is_cuda else super().forward(x)

    images = torch.randn(4, 6)
    good = tn.testing.check_model(partial(nn.Linear, 6, 5), images, groups=("device",), on_fail="collect")
    assert good["device.move"].status == "passed", good["device.move"].message
    bad = tn.testing.check_model(partial(Rounds, 6, 5), images, groups=("device",), on_fail="collect")
    assert "CUDA gives other values than the CPU" in bad["device.move"].message
