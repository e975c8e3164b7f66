"""Models by name, and what their constructors refuse."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import torch

from tinynets import models
from tinynets.models import (
    CCT,
    CifarResNet,
    ConvMixer,
    LeNet5,
    MlpMixer,
    SimpleViT,
    WideResNet,
    create_model,
    list_models,
)
from tinynets.models.registry import MODELS


@pytest.mark.slow
def test_every_name_gives_its_class():
    with torch.device("meta"):
        assert all(type(create_model(name)) is entry.model for name, entry in MODELS.items())
    assert {entry.class_name for entry in MODELS.values()} <= set(dir(models))
    with pytest.raises(AttributeError, match=r"module 'tinynets\.models' has no attribute 'ResNet51'"):
        models.ResNet51


@pytest.mark.slow
def test_a_family_is_imported_when_it_is_asked_for():
    code = "import sys, tinynets; assert 'tinynets.models.cct' not in sys.modules; tinynets.models.CCT"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_by_family_and_size():
    assert list_models(family="perceptron") == ["tiny_vision_mlp", "cifar_mlp"]
    assert "vgg16_cifar" not in list_models(image_size=28)
    assert {"lenet5", "simple_vit", "resnet20"} <= set(list_models(image_size=28))
    assert list_models(image_size=31, family="transformer") == []
    with pytest.raises(ValueError, match="no family is called 'residul'; did you mean 'residual'"):
        list_models(family="residul")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "config", "error", "message"),
    [
        ("resnet2O", {}, ValueError, "no model is called 'resnet2O'; did you mean 'resnet20'?"),
        ("zzz", {}, ValueError, "no model is called 'zzz'. list_models() names them all"),
        ("resnet18", {}, ValueError, "no model is called 'resnet18'; did you mean 'resnet18_cifar'?"),
        ("gpt_2", {}, ValueError, "no model is called 'gpt_2'. list_models"),
        ("wrn_28_12", {}, ValueError, "no model is called 'wrn_28_12'; there are wrn_16_4, wrn_28_10."),
        ("resnet20", {"num_clases": 5}, TypeError, "no option 'num_clases'; did you mean 'num_classes'?"),
        ("resnet20", {"image_size": 64}, TypeError, "resnet20 has no option 'image_size'"),
        ("resnet20", {"depth": 32}, ValueError, "resnet20 is CifarResNet with depth=20"),
        ("resnet20", {"num_classes": 0}, ValueError, "num_classes must be an int of at least 1, got 0"),
        ("resnet20", {"num_classes": "10"}, ValueError, "num_classes must be an int of at least 1, got '10'"),
        ("resnet20", {"shortcut": "C"}, ValueError, "shortcut must be one of 'A', 'B', got 'C'"),
        (
            "mobilenet_v2_cifar",
            {"width_factor": 0},
            ValueError,
            "width_factor must be a number from 0.05 to 100, got 0",
        ),
        ("mobilenet_v2_cifar", {"dropout": 1.0}, ValueError, "dropout must be a number in [0, 1), got 1.0"),
    ],
)
def test_what_create_model_refuses(name: str, config: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=re.escape(message)):
        create_model(name, **config)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CifarResNet(depth=21), "depth must be 6n+2"),
        (lambda: CifarResNet(depth=2), "depth must be 6n+2"),
        (lambda: WideResNet(depth=27), "depth must be 6n+4"),
        (lambda: models.DeepResNetCifar(depth=18), "depth must be one of 34, 50, got 18"),
        (lambda: models.SeResNet(depth=18), "depth must be 6n+2"),
        (lambda: models.SeResNet(reduction=3), "reduction must be a divisor of 16, got 3"),
        (lambda: LeNet5(image_size=15), "image_size must be at least 16"),
        (lambda: MlpMixer(image_size=30), "image_size (=30) must be a multiple of patch_size (=4)"),
        (lambda: SimpleViT(num_heads=5), "embed_dim (=192) must be a multiple of num_heads (=5)"),
        (lambda: SimpleViT(embed_dim=6, num_heads=3), "embed_dim must be a multiple of 4"),
        (lambda: ConvMixer(kernel_size=4), "kernel_size must be odd, got 4"),
        (lambda: CCT(depth=3), "depth must be one of 2, 4, 6, 7, got 3"),
        (lambda: CCT(image_size=31), "image_size (=31) must be a multiple of 2 ** num_convs (=2)"),
    ],
)
def test_what_constructors_refuse(build: Any, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
