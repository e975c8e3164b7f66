"""State dicts as people have them: each gives the net that it is of, or one line that names its own key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tinynets as tn
from tinynets.models import (
    CCT,
    CifarResNet,
    ConvMixer,
    DenseNetBC,
    MobileNetV2Cifar,
    ResNet18Cifar,
    WideResNet,
)
from tinynets.models.cct import sine_positions

from . import layouts

Weights = dict[str, Tensor]


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def lived(net: nn.Module) -> nn.Module:
    """Give norms a life behind them."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.2)
    return net.eval()


NARROW, WIDE = (8, 16, 16, 32, 48, 80, 160), (24, 32, 48, 88, 136, 224, 448)
LAYOUTS: dict[str, tuple[Callable[[Weights], tn.models.ImageClassifier], Callable[[], nn.Module]]] = {
    "akamaster": (CifarResNet.from_akamaster, lambda: layouts.ResNet((16, 32, 64), 1)),
    "kuangliu": (ResNet18Cifar.from_kuangliu, lambda: layouts.ResNet((64, 128, 256, 512), 2)),
    "andreasveit": (DenseNetBC.from_andreasveit, lambda: layouts.DenseNet(own=True)),
    "bearpaw": (DenseNetBC.from_bearpaw, lambda: layouts.DenseNet(own=False)),
    "xternalz": (WideResNet.from_xternalz, layouts.WideResNet),
    "locuslab": (ConvMixer.from_locuslab, layouts.convmixer),
    "chenyaofo, x0_5": (MobileNetV2Cifar.from_chenyaofo, lambda: layouts.MobileNetV2(16, NARROW, 1280)),
    "chenyaofo, x1_4": (MobileNetV2Cifar.from_chenyaofo, lambda: layouts.MobileNetV2(48, WIDE, 1792)),
}


@pytest.mark.parametrize(("build", "partner"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_published_layout_gives_the_logits_of_its_net(build, partner):
    net = lived(partner())
    images = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        expected = net(images)
        assert (build(net.state_dict()).eval()(images) - expected).abs().max() <= 1e-13 * expected.abs().max()


def akamaster() -> Weights:
    """As its trained weights are: of a time when BatchNorm did not count, and in `DataParallel`."""
    state = layouts.ResNet((16, 32, 64), 1).state_dict()
    return {f"module.{name}": each for name, each in state.items() if "num_batches" not in name}


WRAPPED = {
    "as it is": lambda state: state,
    "a checkpoint": lambda state: {"state_dict": state, "best_prec1": 91.2},
    "kuangliu's checkpoint": lambda state: {"net": state, "acc": 95.0, "epoch": 199},
    "a deeper one": lambda state: {"model": {"state_dict": OrderedDict(state)}, "epoch": 3},
    "of a LightningModule": lambda state: {f"model.{name}": each for name, each in state.items()},
    "in an attribute": lambda state: {
        "state_dict": {f"net.model.{name}": each for name, each in state.items()}
    },
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_checkpoint_is_unwrapped(wrap: Callable[[Weights], Any]):
    state = akamaster()
    model = CifarResNet.from_akamaster(wrap(state))
    assert (model.depth, model.shortcut) == (8, "A")
    assert torch.equal(model.head.weight, state["module.linear.weight"])
    assert model.bn1.num_batches_tracked == 0


def spoiled(**changes: Any) -> Weights:
    names = {name.replace("_dot_", "."): each for name, each in changes.items()}
    return {**akamaster(), **{f"module.{name}": each for name, each in names.items()}}


NAN = torch.ones(16, 3, 3, 3).index_put((torch.tensor(2),), torch.tensor(torch.nan))
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a path": (lambda: Path("resnet20.th"), "a state dict is expected, got the path 'resnet20.th': pass torch.load(path, "
               "map_location='cpu', weights_only=True), or safetensors.torch.load_file(path)"),
    "a module": (lambda: nn.Linear(1, 1), "a state dict is expected, got a Linear: pass its .state_dict()"),
    "a module in a checkpoint": (lambda: {"model": nn.Linear(1, 1)}, "a state dict is expected, got a Linear: pass its "
                                 ".state_dict()"),
    "nothing": (lambda: None, "a state dict is expected, got a NoneType"),
    "an empty one": (dict, "no weight 'conv1.weight' among none, ..."),
    "numbers": (lambda: {"lr": 0.1}, "lr is no tensor but a float: is this a state dict?"),
    "int8": (lambda: spoiled(conv1_dot_weight=torch.ones(16, 3, 3, 3, dtype=torch.int8)),
             "module.conv1.weight is torch.int8, and weights are floats: dequantize or convert it first"),
    "complex": (lambda: spoiled(linear_dot_bias=torch.ones(10, dtype=torch.complex64)),
                "module.linear.bias is torch.complex64, and weights are floats: dequantize or convert it first"),
    "NaN": (lambda: spoiled(conv1_dot_weight=NAN), "the state dict holds 27 values in module.conv1.weight that are not "
            "finite, the first at [2, 0, 0, 0]"),
    "meta": (lambda: spoiled(linear_dot_bias=torch.ones(10, device="meta")),
             "module.linear.bias is on the meta device, so it has no values that could be copied"),
    "sparse": (lambda: spoiled(linear_dot_weight=torch.ones(10, 64).to_sparse()),
               "module.linear.weight is of layout torch.sparse_coo, so it has no values that could be copied"),
    "two heads": (lambda: spoiled(fc_dot_weight=torch.ones(10, 64)),
                  "'module.linear.weight' and 'module.fc.weight' would both be head.weight"),
    "axes": (lambda: spoiled(conv1_dot_weight=torch.ones(16)),
             "module.conv1.weight has shape [16], where 4 axes are expected"),
    "another shape": (lambda: spoiled(linear_dot_weight=torch.ones(10, 65)),
                      "the state dict does not fit CifarResNet:\n  misshapen module.linear.weight: [10, 65] where [10, 64] "
                      "is expected"),
    "one more": (lambda: spoiled(linear_dot_scale=torch.ones(1)),
                 "the state dict does not fit CifarResNet:\n  unexpected module.linear.scale [1]"),
    "no such net": (lambda: spoiled(linear_dot_weight=torch.ones(0, 64)),
                    "these weights are of no CifarResNet: num_classes must be an int of at least 1, got 0"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_named_as_in_the_file(source: Callable[[], Any], message: str):
    with pytest.raises(tn.CheckpointError) as caught:
        CifarResNet.from_akamaster(source())
    assert str(caught.value) == message


def test_width_from_the_weights():
    model = MobileNetV2Cifar.from_chenyaofo(
        layouts.MobileNetV2(24, (16, 24, 24, 48, 72, 120, 240), 1280).state_dict()
    )
    assert (model.width_factor, [stage.channels for stage in model.stages]) == (0.75, [24, 24, 72, 240])


def test_sine_positions_stay_fixed():
    table = sine_positions(64, 128)
    tokens, pairs = torch.arange(64.0)[:, None], 10_000 ** (-torch.arange(0, 128, 2.0) / 128)
    torch.testing.assert_close(table[:, 0::2], (tokens * pairs).sin())
    torch.testing.assert_close(table[:, 1::2], (tokens * pairs).cos())
    model = CCT(depth=2, num_convs=2, position_embedding="sine")
    assert torch.equal(model.positions[0], table)
    assert not model.positions.requires_grad
    state = {official(name): each for name, each in model.state_dict().items()}
    again = CCT.from_official(state)
    assert (again.position_embedding, again.positions.requires_grad) == ("sine", False)
    state["classifier.positional_emb"] = state["classifier.positional_emb"] + 0.1
    assert CCT.from_official(state).positions.requires_grad


def official(name: str) -> str:
    """The authors' name of a weight of CCT."""
    if name.startswith("tokenizer."):
        return f"tokenizer.conv_layers.{name.split('.')[1]}.0.weight"
    for ours, theirs in {
        "positions": "positional_emb",
        "head.": "fc.",
        ".attention_norm.": ".pre_norm.",
        ".mlp_norm.": ".norm1.",
        ".attention.out.": ".self_attn.proj.",
        ".attention.": ".self_attn.",
        ".mlp.fc": ".linear",
    }.items():
        name = name.replace(ours, theirs)
    return f"classifier.{name}"
