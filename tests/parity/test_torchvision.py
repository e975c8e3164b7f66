"""The nets that torchvision can be turned into by changing strides: same weights, same results."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tinynets.checkpoint import CheckpointError
from tinynets.models import DenseNetBC, MobileNetV2Cifar, ResNet18Cifar, Vgg16Cifar

torchvision = pytest.importorskip("torchvision", reason="`make parity` installs it")

pytestmark = pytest.mark.slow

Difference = Callable[..., float]
Randomise = Callable[[nn.Module], nn.Module]


def resnet18(*, keep_maxpool: bool = False) -> nn.Module:
    partner = torchvision.models.resnet18(num_classes=10)
    partner.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    if not keep_maxpool:
        partner.maxpool = nn.Identity()
    return partner


def mobilenet(*, stride_at_24_channels: int = 1) -> nn.Module:
    setting = [
        [1, 16, 1, 1],
        [6, 24, 2, stride_at_24_channels],
        [6, 32, 3, 2],
        [6, 64, 4, 2],
        [6, 96, 3, 1],
        [6, 160, 3, 2],
        [6, 320, 1, 1],
    ]
    partner = torchvision.models.mobilenet_v2(num_classes=10, inverted_residual_setting=setting, dropout=0.0)
    partner.features[0][0].stride = (1, 1)
    return partner


def densenet(*, keep_pool: bool = False) -> nn.Module:
    partner = torchvision.models.DenseNet(
        growth_rate=12, block_config=(16, 16, 16), num_init_features=24, num_classes=10
    )
    partner.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    partner.features.norm0 = partner.features.relu0 = nn.Identity()
    if not keep_pool:
        partner.features.pool0 = nn.Identity()
    return partner


def vgg16(*, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    trunk = torchvision.models.vgg16_bn().features
    for i, layer in enumerate(trunk):
        if isinstance(layer, nn.ReLU):
            trunk[i] = activation()
    parts = {"features": trunk, "flatten": nn.Flatten(), "classifier": nn.Linear(512, 10)}
    partner = nn.Sequential()
    for name, part in parts.items():
        partner.add_module(name, part)
    return partner


def mobilenet_without_dropout(weights: dict[str, Tensor]) -> MobileNetV2Cifar:
    model = MobileNetV2Cifar.from_torchvision(weights)
    model.dropout = 0.0
    return model


PAIRS = {
    "resnet18": (ResNet18Cifar.from_torchvision, resnet18),
    "mobilenet_v2": (mobilenet_without_dropout, mobilenet),
    "densenet_bc_100_12": (DenseNetBC.from_torchvision, densenet),
    "vgg16": (Vgg16Cifar.from_torchvision, vgg16),
}
TRAPS = {
    "resnet18 with its maxpool": (ResNet18Cifar.from_torchvision, lambda: resnet18(keep_maxpool=True)),
    "mobilenet_v2 with the stride of 224 px": (
        MobileNetV2Cifar.from_torchvision,
        lambda: mobilenet(stride_at_24_channels=2),
    ),
    "densenet with its first pooling": (DenseNetBC.from_torchvision, lambda: densenet(keep_pool=True)),
    "vgg16 with another activation": (Vgg16Cifar.from_torchvision, lambda: vgg16(activation=nn.ReLU6)),
}


@pytest.mark.parametrize(("build", "partner"), PAIRS.values(), ids=PAIRS)
def test_same_weights_give_the_same_results(build, partner, randomise: Randomise, difference: Difference):
    assert difference(build, randomise(partner()), torch.randn(2, 3, 32, 32)) <= 1e-10


@pytest.mark.parametrize(("build", "partner"), TRAPS.values(), ids=TRAPS)
def test_a_net_with_as_many_parameters_is_told_apart(
    build, partner, randomise: Randomise, difference: Difference
):
    assert difference(build, randomise(partner()), torch.randn(2, 3, 32, 32), gradients=False) > 1e-3


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
