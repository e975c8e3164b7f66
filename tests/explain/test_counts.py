"""Numbers, compared with counters that somebody else wrote."""

import time

import pytest
import torch
import torchinfo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import tinynets as tn

from ..zoo_names import SWEPT, shallow
from .nets import Loop, Modes

# Attention, and linear layers that see tokens.
TORCHINFO_MISCOUNTS = {
    "convnext_atto_cifar",
    "mlp_mixer",
    "simple_vit",
    "vit_tiny",
    "cct_2_3x2",
    "cct_7_3x1",
}


def macs_by_torch(model: nn.Module, inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(inputs)
    return counter.get_total_flops() // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEPT)
def test_zoo_agrees_with_the_flop_counter(name: str) -> None:
    model = shallow(name)().eval()
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
    theirs = torchinfo.summary(model, input_data=inputs, device="meta", verbose=0)
    assert run.parameters == theirs.total_params
    if name not in TORCHINFO_MISCOUNTS:
        assert run.macs.value == theirs.total_mult_adds - added_by_torchinfo(model, inputs)
    else:
        assert run.macs.value > 1.5 * theirs.total_mult_adds


def added_by_torchinfo(model: nn.Module, inputs: torch.Tensor) -> int:
    """What torchinfo adds to the multiplications: each bias, and each parameter of a normalization."""
    added = [0]

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        for name, parameter in layer.named_parameters(recurse=False):
            if isinstance(layer, nn.Conv2d):
                added[0] += (name == "bias") * parameter.numel() * output[:, 0].numel()
            elif not (isinstance(layer, nn.Linear) and name == "weight"):
                added[0] += parameter.numel() * output.shape[0]

    for module in model.modules():
        module.register_forward_hook(count)
    model(inputs)
    return added[0]


def transformer(kind: str) -> nn.Module:
    layer = getattr(nn, f"Transformer{kind}Layer")(16, 4, 32, dropout=0.0, batch_first=True)
    more = {"enable_nested_tensor": False} if kind == "Encoder" else {}
    return getattr(nn, f"Transformer{kind}")(layer, 2, **more)


TOKENS, MEMORY = torch.zeros(3, 7, 16), torch.zeros(3, 5, 16)
STEPS = torch.zeros(3, 5, 8)
# What torch's counter leaves out on the CPU: the products inside a kernel that it does not know.
ATTENTION_OF_VIT = (
    2 * 6 * 2 * 64 * 64 * 192
)  # images, blocks, query by key and weights by value, tokens, channels
ATTENTION = 3 * 2 * 2 * 7 * 7 * 16
ATTENTION_TO_MEMORY = 3 * 2 * 2 * 7 * 5 * 16
STEPS_OF_LSTM = 3 * 5 * (8 + 16) * 4 * 16


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize(
    ("model", "inputs", "ours", "left_out"),
    [
        (tn.TinyVisionMLP(), (torch.zeros(2, 1, 28, 28),), 406_528, 0),
        (tn.create_model("lenet5"), (torch.zeros(2, 1, 28, 28),), 833_040, 0),
        (nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 8)), (torch.zeros(2, 7, dtype=torch.long),), 448, 0),
        (nn.Conv1d(4, 8, 3, groups=2), (torch.zeros(2, 4, 9),), 672, 0),
        (nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(), nn.Softmax(1)), (torch.zeros(2, 8),), 0, 0),
        pytest.param(nn.GRU(8, 16), (STEPS,), 17_280, 0, marks=pytest.mark.slow),
        pytest.param(
            nn.MultiheadAttention(16, 4, batch_first=True), (TOKENS,) * 3, 26_208, 0, marks=pytest.mark.slow
        ),
        pytest.param(
            tn.create_model("simple_vit"),
            (torch.zeros(2, 3, 32, 32),),
            359_796_480,
            ATTENTION_OF_VIT,
            marks=pytest.mark.slow,
        ),
        pytest.param(transformer("Encoder"), (TOKENS,), 95_424, ATTENTION, marks=pytest.mark.slow),
        pytest.param(
            transformer("Decoder"),
            (TOKENS, MEMORY),
            139_008,
            ATTENTION + ATTENTION_TO_MEMORY,
            marks=pytest.mark.slow,
        ),
        (nn.LSTM(8, 16, batch_first=True), (STEPS,), 23_040, STEPS_OF_LSTM),
        # Neither knows its kernel.
        (nn.Bilinear(4, 5, 6), (torch.zeros(2, 4), torch.zeros(2, 5)), 0, 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_multiplication_is_one_product_that_is_summed(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], ours: int, left_out: int
) -> None:
    """`docs/explain.md` says which convention this is, and what torch's counter leaves out."""
    assert tn.explain(model, *inputs).run.macs.value == ours
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    assert counter.get_total_flops() // 2 == ours - left_out


class Gram(nn.Module):
    def forward(self, x):
        return x @ x.T


@pytest.mark.parametrize(
    ("model", "shape", "right", "theirs"),
    [
        (nn.Linear(8, 4, bias=False), (2, 8), 64, 64),
        (nn.Conv2d(4, 8, 3, groups=2, bias=False), (2, 4, 8, 8), 10_368, 10_368),
        (nn.Linear(8, 4), (2, 8), 64, 72),  # the bias is no multiplication
        (nn.Linear(8, 4, bias=False), (2, 5, 8), 320, 64),  # five tokens count as one
        (Gram(), (2, 8), 32, 0),  # an operator counts nothing
        (nn.ConvTranspose2d(3, 4, 3, bias=False), (2, 3, 8, 8), 13_824, 21_600),  # by its larger output
    ],
    ids=["linear", "grouped", "bias", "tokens", "operator", "transposed"],
)
def test_where_torchinfo_is_right_and_where_not(model, shape, right: int, theirs: int) -> None:
    """If one of the wrong ones is right some day, docs/explain.md has to change."""
    inputs = torch.zeros(shape)
    assert tn.explain(model, inputs).run.macs.value == macs_by_torch(model, inputs) == right
    assert torchinfo.summary(model, input_data=inputs, verbose=0).total_mult_adds == theirs


def test_torchinfo_counts_tied_weights_twice_and_changes_modes() -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Dropout(), nn.Linear(8, 8, bias=False))
    model[2].weight = model[0].weight
    model[1].eval()
    assert tn.explain(model, "batch 8").run.parameters == 64
    assert not model[1].training
    assert torchinfo.summary(model, (2, 8), verbose=0).total_params == 128
    assert model[1].training


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


@pytest.mark.parametrize(
    ("layer", "weights"),
    [
        (nn.LSTM(8, 16, batch_first=True), 64 * (8 + 16)),
        (nn.LSTM(8, 16, 2, bidirectional=True), 2 * 64 * (8 + 16) + 2 * 64 * (32 + 16)),
        pytest.param(nn.GRU(8, 16), 48 * (8 + 16), marks=pytest.mark.slow),
    ],
    ids=["lstm", "two layers, both ways", "gru"],
)
def test_a_recurrent_layer_counts_its_weights_once_a_step(layer: nn.Module, weights: int) -> None:
    """Torch's counter does not know the kernel of an LSTM on the CPU."""
    assert tn.explain(layer, torch.zeros(5, 3, 8)).run.macs.value == 5 * 3 * weights


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


def test_what_is_saved_of_a_view_is_all_of_its_memory() -> None:
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(8, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            query, key, _ = self.qkv(x).chunk(3, -1)
            return query @ key.transpose(-1, -2)

    model, inputs, kept = Fused(), torch.rand(2, 5, 8), dict[int, int]()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = model(inputs)
    assert result.requires_grad
    assert tn.explain(model, "batch=2 5 8").run.saved.value == sum(kept.values()) == 2 * 5 * (8 + 24) * 4


def test_new_memory_of_a_line() -> None:
    lines = tn.explain(Loop(1), "batch=3 8").lines
    assert lines[1].allocated.value == 2 * 3 * 8 * 4  # the linear layer's output and the sum
    assert lines[1].allocated.formula == "64 B·batch"


@pytest.mark.slow
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


def test_what_torchinfo_tells_of_a_layer_is_in_the_record() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, (3, 5)), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 3 * 2, 4))
    model[0].requires_grad_(False)
    explanation = tn.explain(model, torch.zeros(2, 3, 8, 8))
    run = explanation.run
    theirs = torchinfo.summary(model, input_data=torch.zeros(2, 3, 8, 8), verbose=0)
    layers = [layer for layer in theirs.summary_list if layer.depth == 1]
    assert (run.parameters, run.trainable) == (theirs.total_params, theirs.trainable_params)
    assert run.parameter_bytes == theirs.total_param_bytes
    for line, layer in zip(run.frame.lines, layers, strict=True):
        (call,) = line.ops
        assert list(call.inputs[0].sizes) == list(layer.input_size)
        assert list(call.results[0].sizes) == list(layer.output_size)
        assert line.parameters == layer.num_params
        assert line.parameter_percent == pytest.approx(100 * layer.num_params / theirs.total_params, abs=0.01)
    assert [line.ops[0].kernel_size for line in run.frame.lines] == [(3, 5), (2, 2), (), ()]
    assert layers[0].kernel_size == [3, 5]
    assert [line.trainable for line in run.frame.lines] == [0, 0, 0, 196]
    assert sum(line.mac_percent for line in run.frame.lines) == pytest.approx(100, abs=0.02)
    assert "frozen · kernel 3x5" in str(explanation)
