"""The smallest image that a model takes, and what it says of a smaller one."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import tinynets as tn
from tinynets.models import create_model
from tinynets.models.registry import MODELS

# What a model of any size says of an image that is one pixel too small.
TOO_SMALL = {
    "vgg16_cifar": "Vgg16Cifar halves its images five times: it takes 32x32 at least, got [1, 3, 31, 40]",
    "mobilenet_v2_cifar": "MobileNetV2Cifar averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "googlenet_cifar": "GoogLeNetCifar averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "shufflenet_v2_cifar": "ShuffleNetV2Cifar averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "efficientnet_b0_cifar": "EfficientNetB0Cifar averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "repvgg_a0_cifar": "RepVggA0Cifar averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "convnext_atto_cifar": "ConvNextAttoCifar halves its images four times: it takes 16x16 at least, got [1, 3, 15, 40]",
    "airbench94": "Airbench94Net halves its images three times: it takes 9x9 at least, got [1, 3, 8, 40]",
    "resnet20": "CifarResNet averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "resnet18_cifar": "ResNet18Cifar averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "resnet34_cifar": "DeepResNetCifar averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "resnet9": "ResNet9 halves its images three times: it takes 8x8 at least, got [1, 3, 7, 40]",
    "preact_resnet18": "PreActResNet18 averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "se_resnet20": "SeResNet averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "resnext29_2x64d": "ResNeXt29 averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "wrn_16_4": "WideResNet averages over the pixels: it takes 1x1 at least, got [1, 3, 0, 40]",
    "densenet_bc_100_12": "DenseNetBC halves its images twice: it takes 4x4 at least, got [1, 3, 3, 40]",
    "convmixer_256_8": "ConvMixer cuts its images into patches: it takes 2x2 at least, got [1, 3, 1, 40]",
}
# What the constructor says of a size that is one too small.
REFUSED = {
    "lenet5": "image_size must be at least 16, so that a pixel is left, got 15",
    "mnist_cnn": "image_size must be at least 6, so that a pixel is left, got 5",
    "mlp_mixer": "image_size (=3) must be a multiple of patch_size (=4)",
    "simple_vit": "image_size (=3) must be a multiple of patch_size (=4)",
    "vit_tiny": "image_size (=3) must be a multiple of patch_size (=4)",
    "cct_2_3x2": "image_size (=3) must be a multiple of 2 ** num_convs (=4)",
    "cct_7_3x1": "image_size (=1) must be a multiple of 2 ** num_convs (=2)",
}


def test_every_class_is_here():
    fixed = {"TinyVisionMLP", "CifarMLP"}
    assert {MODELS[name].class_name for name in (*TOO_SMALL, *REFUSED)} | fixed == {
        entry.class_name for entry in MODELS.values()
    }


@pytest.mark.parametrize("name", TOO_SMALL)
def test_any_size_from_the_smallest_on(name: str):
    smallest = MODELS[name].sizes[0]
    assert f"{smallest}x{smallest} at least" in TOO_SMALL[name]
    model = create_model(name).eval()
    for height, width in ((smallest, smallest), (smallest + 3, smallest)):
        assert model(torch.randn(1, 3, height, width)).isfinite().all()
    for shape in ((1, 3, smallest - 1, 40), (1, 3, 40, smallest - 1)):
        with pytest.raises(tn.ShapeError) as caught:
            model(torch.randn(shape))
        assert str(caught.value).splitlines()[0] == TOO_SMALL[name].replace(
            str([1, 3, smallest - 1, 40]), str(list(shape))
        )
    error = caught.value
    assert (error.where, error.expected) == (
        "images",
        f"[batch in_channels height>={smallest} width>={smallest}]",
    )


@pytest.mark.parametrize("name", REFUSED)
def test_image_size_from_the_smallest_on(zoo: Any, name: str):
    smallest = MODELS[name].sizes[0]
    model = zoo.build(name, size=smallest).eval()
    assert model(zoo.images(model, smallest)).isfinite().all()
    with pytest.raises(ValueError, match=re.escape(REFUSED[name])):
        create_model(name, image_size=smallest - 1)


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("resnet20", "images of any size >= 1"),
        ("vgg16_cifar", "images of any size >= 32"),
        ("cifar_mlp", "32x32 images"),
    ],
)
def test_image_size_where_there_is_no_such_option(name: str, takes: str):
    with pytest.raises(TypeError) as caught:
        create_model(name, image_size=64)
    assert str(caught.value) == f"{name} has no option 'image_size': it takes {takes}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "wrn_16_4", "mobilenet_v2_cifar"])
def test_export_with_dynamic_height_and_width(name: str):
    model = create_model(name).eval()
    sides = {side: torch.export.Dim(side, min=64, max=512) for side in ("height", "width")}
    program = torch.export.export(
        model,
        (torch.randn(2, 3, 160, 96),),
        dynamic_shapes=({2: sides["height"], 3: sides["width"]},),
    )
    larger = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(larger), model(larger), rtol=1e-4, atol=1e-4)
