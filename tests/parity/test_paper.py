"""The nets without a partner on PyPI, against a second implementation in plain torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tinynets.models import (
    Airbench94Net,
    CifarResNet,
    GoogLeNetCifar,
    ImageClassifier,
    LeNet5,
    MnistCnn,
    PreActResNet18,
    ResNet9,
    SeResNet,
    ShuffleNetV2Cifar,
    WideResNet,
)

from . import more_references as more
from .references import (
    ReferenceCCT,
    ReferenceResNet,
    ReferenceWideResNet,
    Weights,
    airbench_reference,
    cct_without_dropout,
    in_order,
    lenet_reference,
)

Difference = Callable[..., float]
Randomise = Callable[[nn.Module], nn.Module]


def resnet_a(depth: int = 20) -> Callable[[Weights], ImageClassifier]:
    return in_order(lambda: CifarResNet(depth=depth, shortcut="A"))


def wrn(depth: int, factor: int) -> Callable[[Weights], ImageClassifier]:
    return in_order(lambda: WideResNet(depth=depth, widen_factor=factor))


def mnist_cnn_without_dropout(weights: Weights) -> ImageClassifier:
    return in_order(lambda: MnistCnn(dropout=0.0, head_dropout=0.0))(weights)


CIFAR, DIGITS, SMALL = (2, 3, 32, 32), (2, 1, 28, 28), (2, 3, 16, 16)
PAIRS = {
    "resnet20, shortcut A": (resnet_a(), lambda: ReferenceResNet(20, "A"), CIFAR),
    "resnet56, shortcut A": (resnet_a(56), lambda: ReferenceResNet(56, "A"), CIFAR),
    "resnet20, shortcut B": (CifarResNet.from_chenyaofo, lambda: ReferenceResNet(20, "B"), CIFAR),
    "resnet32, shortcut B": (CifarResNet.from_chenyaofo, lambda: ReferenceResNet(32, "B"), CIFAR),
    "wrn_16_4": (wrn(16, 4), lambda: ReferenceWideResNet(16, 4), CIFAR),
    "cct_2_3x2": (cct_without_dropout, lambda: ReferenceCCT(2, 2), CIFAR),
    "cct_7_3x1": (cct_without_dropout, lambda: ReferenceCCT(7, 1), CIFAR),
    "airbench94": (in_order(Airbench94Net), airbench_reference, CIFAR),
    "lenet5": (in_order(LeNet5), lenet_reference, DIGITS),
    "mnist_cnn": (mnist_cnn_without_dropout, more.mnist_cnn, DIGITS),
    "preact_resnet18": (PreActResNet18.from_kuangliu, more.PreActResNet, SMALL),
    "se_resnet20": (in_order(SeResNet), more.SeResNet, CIFAR),
    "resnet9": (in_order(ResNet9), more.ResNet9, SMALL),
    "shufflenet_v2": (ShuffleNetV2Cifar.from_kuangliu, more.ShuffleNet, SMALL),
    "googlenet": (GoogLeNetCifar.from_kuangliu, more.GoogLeNet, SMALL),
}
TRAPS = {
    "A, all zeros at the end": (resnet_a(), lambda: ReferenceResNet(20, "A", pad_at_end=True), CIFAR),
    "A, pooled shortcut": (resnet_a(), lambda: ReferenceResNet(20, "A", pool_shortcut=True), CIFAR),
    "wrn, stride on the second convolution": (
        wrn(10, 2),
        lambda: ReferenceWideResNet(10, 2, stride_on_second=True),
        CIFAR,
    ),
    "wrn, shortcut before the activation": (
        wrn(10, 2),
        lambda: ReferenceWideResNet(10, 2, raw_shortcut=True),
        CIFAR,
    ),
    "cct, usual pre-norm block": (
        cct_without_dropout,
        lambda: ReferenceCCT(2, 2, usual_pre_norm=True),
        CIFAR,
    ),
    "airbench, unscaled": (in_order(Airbench94Net), lambda: airbench_reference(scale=1.0), CIFAR),
    "airbench, pooled after the activation": (
        in_order(Airbench94Net),
        lambda: airbench_reference(pool_last=True),
        CIFAR,
    ),
    "mnist_cnn with mean pooling": (
        mnist_cnn_without_dropout,
        lambda: more.mnist_cnn(nn.AvgPool2d),
        DIGITS,
    ),
    "preact_resnet18, shortcut before the activation": (
        PreActResNet18.from_kuangliu,
        lambda: more.PreActResNet(raw_shortcut=True),
        SMALL,
    ),
    "se_resnet20, gates on the sum": (in_order(SeResNet), lambda: more.SeResNet(gate_first=True), CIFAR),
    "resnet9, activation of the sum": (in_order(ResNet9), lambda: more.ResNet9(activate_sum=True), SMALL),
    "shufflenet_v2, unshuffled": (
        ShuffleNetV2Cifar.from_kuangliu,
        lambda: more.ShuffleNet(shuffle=False),
        SMALL,
    ),
    "googlenet with mean pooling": (
        GoogLeNetCifar.from_kuangliu,
        lambda: more.GoogLeNet(nn.AvgPool2d),
        SMALL,
    ),
    "lenet5 with tanh": (in_order(LeNet5), lambda: lenet_reference(nn.Tanh), DIGITS),
}


@pytest.mark.slow
@pytest.mark.parametrize(("build", "partner", "shape"), PAIRS.values(), ids=PAIRS)
def test_same_weights_give_the_same_results(
    build, partner, shape, randomise: Randomise, difference: Difference
):
    assert difference(build, randomise(partner()), torch.randn(shape)) <= 1e-13


@pytest.mark.slow
@pytest.mark.parametrize(("build", "partner", "shape"), TRAPS.values(), ids=TRAPS)
def test_a_net_with_as_many_parameters_is_told_apart(
    build, partner, shape, randomise: Randomise, difference: Difference
):
    assert difference(build, randomise(partner()), torch.randn(shape), gradients=False) > 1e-3


@pytest.mark.slow
def test_wrn_28_10_is_the_same_net_as_its_small_sisters():
    big, reference = WideResNet(depth=28, widen_factor=10), ReferenceWideResNet(28, 10)
    shapes = [list(tensor.shape) for tensor in big.state_dict().values()]
    assert shapes == [list(tensor.shape) for tensor in reference.state_dict().values()]


def test_whitening_makes_the_patches_white():
    images = torch.randn(200, 3, 12, 12).cumsum(2).cumsum(3)  # neighbouring pixels are alike
    net = Airbench94Net()
    net.init_whitening(images, epsilon=0.0)
    white = F.conv2d(images, net.whitening.weight[:12]).transpose(0, 1).flatten(1)
    covariance = white @ white.T / white.shape[1]
    torch.testing.assert_close(covariance, torch.eye(12), atol=1e-3, rtol=0)
    assert torch.equal(net.whitening.weight[12:], -net.whitening.weight[:12])
    assert not net.whitening.weight.requires_grad
