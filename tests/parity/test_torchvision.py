"""The nets that torchvision can be turned into by changing strides: same weights, same results."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tinynets.checkpoint import CheckpointError
from tinynets.models import DeepResNetCifar, DenseNetBC, ResNet18Cifar, ResNeXt29, Vgg16Cifar

torchvision = pytest.importorskip("torchvision", reason="`make parity` installs it")

from .references import in_order
from .torchvision_nets import (
    ResNeXt,
    deep_resnet,
    densenet,
    efficientnet,
    efficientnet_without_dropout,
    mobilenet,
    mobilenet_without_dropout,
    resnet18,
    vgg16,
)

pytestmark = pytest.mark.slow

Difference = Callable[..., float]
Randomise = Callable[[nn.Module], nn.Module]


PAIRS = {
    "resnet18": (ResNet18Cifar.from_torchvision, resnet18),
    "resnet34": (DeepResNetCifar.from_torchvision, lambda: deep_resnet(34)),
    "resnet50": (DeepResNetCifar.from_torchvision, lambda: deep_resnet(50)),
    "resnext29_2x64d": (in_order(lambda: ResNeXt29(cardinality=2)), lambda: ResNeXt(2)),
    "resnext29_8x64d": (in_order(lambda: ResNeXt29(cardinality=8)), lambda: ResNeXt(8)),
    "efficientnet_b0": (efficientnet_without_dropout, efficientnet),
    "mobilenet_v2": (mobilenet_without_dropout, mobilenet),
    "densenet_bc_100_12": (DenseNetBC.from_torchvision, densenet),
    "vgg16": (Vgg16Cifar.from_torchvision, vgg16),
}
TRAPS = {
    "resnet18 with its maxpool": (ResNet18Cifar.from_torchvision, lambda: resnet18(keep_maxpool=True)),
    "resnet50 with the stride of the paper": (
        DeepResNetCifar.from_torchvision,
        lambda: deep_resnet(50, stride_in_1x1=True),
    ),
    "efficientnet_b0 with the stride of 224 px": (
        efficientnet_without_dropout,
        lambda: efficientnet(stride_at_24_channels=2),
    ),
    "mobilenet_v2 with the stride of 224 px": (
        mobilenet_without_dropout,
        lambda: mobilenet(stride_at_24_channels=2),
    ),
    "densenet with its first pooling": (DenseNetBC.from_torchvision, lambda: densenet(keep_pool=True)),
    "vgg16 with another activation": (Vgg16Cifar.from_torchvision, lambda: vgg16(activation=nn.ReLU6)),
}


@pytest.mark.parametrize(("build", "partner"), PAIRS.values(), ids=PAIRS)
def test_same_weights_give_the_same_results(build, partner, randomise: Randomise, difference: Difference):
    assert difference(build, randomise(partner()), torch.randn(2, 3, 32, 32)) <= 1e-13


@pytest.mark.parametrize(("build", "partner"), TRAPS.values(), ids=TRAPS)
def test_a_net_with_as_many_parameters_is_told_apart(
    build, partner, randomise: Randomise, difference: Difference
):
    assert difference(build, randomise(partner()), torch.randn(2, 3, 32, 32), gradients=False) > 1e-3


def test_a_resnext_of_other_groups_is_refused():
    with pytest.raises(CheckpointError, match=r"misshapen layer1\.0\.conv2\.weight"):
        in_order(lambda: ResNeXt29(cardinality=2))(ResNeXt(2, groups=4).state_dict())


def test_weights_of_the_large_image_nets_are_refused():
    with pytest.raises(
        CheckpointError, match=r"misshapen conv1.weight: \[64, 3, 7, 7\] where \[64, 3, 3, 3\]"
    ):
        ResNet18Cifar.from_torchvision(torchvision.models.resnet18(num_classes=10).state_dict())
    with pytest.raises(CheckpointError, match=r"no weight 'head\.weight'"):
        Vgg16Cifar.from_torchvision(torchvision.models.vgg16_bn(num_classes=10).state_dict())


def test_prefixes_of_wrappers_are_taken_off():
    partner = resnet18()
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in partner.state_dict().items()}
    model = ResNet18Cifar.from_torchvision(wrapped)
    assert torch.equal(model.head.weight, partner.fc.weight)
