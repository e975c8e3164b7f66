"""What holds for every model of the zoo, tested for every name.

What holds for every good `nn.Module` is tested in `tests/testing/test_zoo.py`, by the checks of the package.
"""

from __future__ import annotations

import copy
import cProfile
import dataclasses
import inspect
import itertools
import math
import pickle
import pstats
from typing import Any

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets.layers.attention import FeedForward
from tinynets.models import create_model, list_models
from tinynets.models.registry import MODELS

from ..zoo_names import SWEPT

NAMES = list_models()
# The quick loop takes the small models; the others are marked slow.
QUICK = ["tiny_vision_mlp", "cifar_mlp", "lenet5", "resnet20", "mlp_mixer", "cct_2_3x2"]
# The depths of one class differ in nothing that their code could notice.
CLASSES = [
    name
    for name in NAMES
    if name
    not in ("resnet32", "resnet44", "resnet56", "resnet110", "wrn_28_10", "resnet50_cifar", "resnext29_8x64d")
]


def marked(name: str) -> Any:
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)


# Tens of millions of weights, drawn several times a test, for lines that resnet34_cifar and resnext29_2x64d have too.
WIDER = ("resnet50_cifar", "resnext29_8x64d")
EVERY_NAME = pytest.mark.parametrize("name", [marked(name) for name in NAMES if name not in WIDER])
EVERY_CLASS = pytest.mark.parametrize("name", [marked(name) for name in CLASSES])
SIZES = [
    (name, size)
    for name, size in itertools.product(NAMES, (28, 32, 64))
    if size in MODELS[name].sizes and (size == 32 or name in SWEPT)
]

PARAMETERS = {
    "tiny_vision_mlp": 203_530,
    "cifar_mlp": 1_707_274,
    "lenet5": 61_706,
    "mnist_cnn": 1_199_882,
    "vgg16_cifar": 14_728_266,
    "googlenet_cifar": 6_166_250,
    "shufflenet_v2_cifar": 1_263_854,
    "efficientnet_b0_cifar": 4_020_358,
    "repvgg_a0_cifar": 7_840_874,
    "convnext_atto_cifar": 3_376_290,
    "vit_tiny": 5_362_762,
    "mobilenet_v2_cifar": 2_236_682,
    "airbench94": 1_972_792,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet18_cifar": 11_173_962,
    "resnet34_cifar": 21_282_122,
    "resnet50_cifar": 23_520_842,
    "resnet9": 6_573_120,
    "preact_resnet18": 11_171_146,
    "se_resnet20": 274_490,
    "resnext29_2x64d": 9_130_314,
    "resnext29_8x64d": 34_426_698,
    "wrn_16_4": 2_748_890,
    "wrn_28_10": 36_479_194,
    "densenet_bc_100_12": 769_162,
    "convmixer_256_8": 594_186,
    "mlp_mixer": 1_132_170,
    "simple_vit": 2_680_906,
    "cct_2_3x2": 283_723,
    "cct_7_3x1": 3_760_139,
}
SHORTCUT_B = {
    "resnet20": 272_474,
    "resnet32": 466_906,
    "resnet44": 661_338,
    "resnet56": 855_770,
    "resnet110": 1_730_714,
}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_parameter_count(name: str):
    with torch.device("meta"):
        assert count(create_model(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", SHORTCUT_B)
def test_parameter_count_with_shortcut_b(name: str):
    with torch.device("meta"):
        assert count(create_model(name, shortcut="B")) == SHORTCUT_B[name]


def test_more_parameter_counts():
    with torch.device("meta"):
        net = create_model("airbench94")
        assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 1_971_352
        assert count(tn.models.ConvMixer(kernel_size=9, patch_size=1)) == 706_570
        assert count(tn.models.LeNet5(in_channels=3, image_size=32)) == 62_006
        assert count(tn.models.CifarResNet(depth=1202)) == 19_421_274


@pytest.mark.parametrize(
    ("name", "size"),
    [pytest.param(name, size, marks=() if name in QUICK else pytest.mark.slow) for name, size in SIZES],
)
def test_shapes(zoo: Any, name: str, size: int):
    model = zoo.build(name, size=size).eval()
    with torch.no_grad():
        images = zoo.images(model, size)
        logits = model(images)
        assert logits.shape == (2, 10)
        features = model.forward_features(images)
        torch.testing.assert_close(model.forward_head(features), logits)
        assert model.forward_head(features, pre_logits=True).shape == (2, model.num_features)


def test_one_value_per_channel_is_refused_by_batch_norm_with_a_remedy():
    model = create_model("resnet20")
    image = torch.randn(1, 3, 4, 4)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training") as caught:
        model(image)
    (note,) = caught.value.__notes__
    assert "BasicBlock.forward at layer3.0" in note
    assert "BatchNorm cannot train on one value per channel" in note
    # What the note proposes, works.
    assert model(torch.randn(2, 3, 4, 4)).shape == (2, 10)
    assert model(torch.randn(1, 3, 8, 8)).shape == (1, 10)
    with tn.frozen(model.layer3):
        assert model(image).shape == (1, 10)
    assert model.eval()(image).shape == (1, 10)


@EVERY_NAME
def test_feature_maps_by_stage(zoo: Any, name: str):
    model, size = zoo.build(name).eval(), zoo.size(name)
    with torch.no_grad():
        maps = model.feature_maps(zoo.images(model, size))
    assert list(maps) == [stage.name for stage in model.stages]
    assert all(len(module._forward_hooks) == 0 for module in model.modules())
    for stage in model.stages:
        batch, channels, height, width = maps[stage.name].shape
        assert (batch, channels, height) == (2, stage.channels, width)
        # Convolutions without padding lose a few pixels at the edges.
        assert height == size // stage.stride or name in ("lenet5", "mnist_cnn", "airbench94")


@EVERY_CLASS
def test_reset_head(zoo: Any, name: str):
    model = zoo.build(name).double().eval()
    backbone = {
        key: value for key, value in model.state_dict().items() if not key.startswith(model.head_name)
    }
    model.reset_head(7, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert model(zoo.images(model, zoo.size(name), batch=1).double()).shape == (1, 7)
    assert model.config.num_classes == 7
    assert model.classifier.training is False
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in backbone.items())
    head = model.classifier.weight.detach().clone()
    model.reset_head(7, generator=torch.Generator().manual_seed(3))
    assert torch.equal(head, model.classifier.weight)
    with pytest.raises(ValueError, match="num_classes must be an int of at least 1, got 0"):
        model.reset_head(0)


@EVERY_NAME
def test_config_rebuilds_the_model(name: str):
    with torch.device("meta"):
        model = create_model(name, num_classes=3)
        rebuilt = model.config.build()
    assert type(rebuilt) is type(model)
    assert rebuilt.config == model.config
    assert [(k, v.shape) for k, v in rebuilt.state_dict().items()] == [
        (k, v.shape) for k, v in model.state_dict().items()
    ]


def test_a_config_is_a_frozen_value():
    with torch.device("meta"):
        model, other = create_model("resnet20"), create_model("resnet32")
        config = model.config
        wide = dataclasses.replace(config, num_classes=100).build()
    arguments = {"depth": 20, "shortcut": "A", "in_channels": 3, "num_classes": 10}
    assert dataclasses.asdict(config) == arguments
    assert repr(config) == "CifarResNetConfig(depth=20, shortcut='A', in_channels=3, num_classes=10)"
    assert type(config) is type(other.config)
    assert config != other.config
    assert config != tn.models.WideResNet(depth=16).config
    assert len({config, model.config, wide.config}) == 2
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config
    assert wide.num_classes == wide.config.num_classes == 100
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.depth = 32
    with pytest.raises(ValueError, match="depth must be 6n\\+2"):
        dataclasses.replace(config, depth=21).build()
    with pytest.raises(TypeError, match="dept"):
        dataclasses.replace(config, dept=20)


def test_a_config_needs_every_argument_kept():
    class Forgetful(tn.models.ImageClassifier):
        def __init__(self, *, width: int = 4) -> None:
            super().__init__()

    with pytest.raises(tn.CheckpointError, match=r"takes 'width', so keep it as self\.width"):
        Forgetful().config


@EVERY_NAME
def test_param_groups_hold_every_parameter_once(name: str):
    with torch.device("meta"):
        model = create_model(name)
    decay, rest = model.param_groups(weight_decay=0.05)
    assert (decay["weight_decay"], rest["weight_decay"]) == (0.05, 0.0)
    ids = [id(parameter) for parameter in (*decay["params"], *rest["params"])]
    assert sorted(ids) == sorted(map(id, model.parameters()))
    assert all(parameter.ndim >= 2 for parameter in decay["params"])
    undecayed = {id(parameter) for parameter in rest["params"]}
    for parameter_name, parameter in model.named_parameters():
        last = parameter_name.rsplit(".", 1)[-1]
        assert (id(parameter) in undecayed) == (parameter.ndim < 2 or last in ("positions", "class_token"))
    torch.optim.SGD(model.param_groups(weight_decay=0.1), lr=0.1)


@EVERY_CLASS
def test_initial_weights_are_seeded(zoo: Any, name: str):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model, other = zoo.build(name), zoo.build(name, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before), "a generator leaves the global state alone"
    state = model.state_dict()
    assert any(not torch.equal(state[key], other[key]) for key in state)
    # The backbone does not depend on the head.
    wide = zoo.build(name, num_classes=100).state_dict()
    assert all(torch.equal(wide[key], state[key]) for key in wide if not key.startswith(model.head_name))
    # With the same seed it is the same model, also if it was built on the meta device and materialised.
    with torch.device("meta"):
        materialised = create_model(name)
    assert all(tensor.is_meta for tensor in materialised.state_dict().values())
    materialised.to_empty(device="cpu").init(torch.Generator().manual_seed(0))
    buffers = dict(materialised.named_buffers())
    assert all(torch.equal(tensor, state[key]) for key, tensor in materialised.state_dict().items())
    assert all(torch.equal(tensor, buffers[key]) for key, tensor in model.named_buffers())


@pytest.mark.parametrize("name", ["mlp_mixer", "simple_vit"])
def test_the_activation_reaches_every_block(zoo: Any, name: str):
    exact, tanh = (zoo.build(name, depth=2, activation=kind).double() for kind in ("gelu", "gelu_tanh"))
    for block in tanh.blocks:
        for layer in (each for each in block.modules() if isinstance(each, FeedForward)):
            tokens = torch.randn(1, 2, layer.embed_dim, dtype=torch.float64)
            hidden = layer.fc1(tokens)
            curved = 0.5 * hidden * (1 + ((2 / math.pi) ** 0.5 * (hidden + 0.044715 * hidden**3)).tanh())
            torch.testing.assert_close(layer(tokens), layer.fc2(curved), rtol=0, atol=1e-14)
    features = [model.forward_features(zoo.images(model, 32).double()) for model in (exact, tanh)]
    assert 1e-6 < (features[0] - features[1]).abs().max() < 1e-2
    with pytest.raises(ValueError, match=r"activation must be one of 'gelu', 'gelu_tanh', got 'relu'"):
        create_model(name, activation="relu")


WRONG = {
    "channels last": (lambda x: x.permute(0, 2, 3, 1), tn.ShapeError),
    "no batch": (lambda x: x[0], tn.ShapeError),
    "other channels": (lambda x: x.repeat(1, 2, 1, 1), tn.ShapeError),
    "bytes": (lambda x: x.clamp(0, 1).mul(255).byte(), tn.DtypeError),
    "too small": (lambda x: x[..., :8, :8], tn.ShapeError),
}


@EVERY_CLASS
@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_images_are_refused_by_the_contract(zoo: Any, name: str, wrong: str):
    any_size = "image_size" not in inspect.signature(MODELS[name].model).parameters
    if wrong == "too small" and any_size and 8 in MODELS[name].sizes:
        pytest.skip("takes images of any size")
    with torch.device("meta"):  # no value is looked at
        model = create_model(name).eval()
    spoil, error = WRONG[wrong]
    with pytest.raises(error) as caught:
        model(spoil(zoo.images(model, zoo.size(name)).to("meta")))
    assert type(model).__name__ in str(caught.value)


@EVERY_CLASS
def test_no_forward_falls_back_to_the_slow_checks(zoo: Any, name: str):
    model = zoo.build(name).eval()
    images = zoo.images(model, zoo.size(name))
    with torch.inference_mode(), cProfile.Profile() as profile:
        model(images)
    called = {path.replace("\\", "/") for path, _, _ in pstats.Stats(profile).stats}  # type: ignore[attr-defined]
    assert any("tinynets/" in path for path in called)
    assert not {path for path in called if "/jaxtyping/" in path or "/_contract/verdict/" in path}
