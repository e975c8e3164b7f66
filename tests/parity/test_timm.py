"""The nets that timm can build from its classes: same weights, same results."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tinynets.checkpoint import CheckpointError
from tinynets.models import (
    ConvMixer,
    ConvNextAttoCifar,
    MlpMixer,
    RepVggA0Cifar,
    ResNet18Cifar,
    SimpleViT,
    ViTTiny,
)

pytest.importorskip("timm", reason="`make parity` installs it")

from .timm_nets import convmixer, convnext, mixer, repvgg, resnet18, vit, vit_tiny

pytestmark = pytest.mark.slow

Difference = Callable[..., float]
Randomise = Callable[[nn.Module], nn.Module]


def strip_positions(weights: dict[str, torch.Tensor]) -> SimpleViT:
    return SimpleViT.from_timm({name: tensor for name, tensor in weights.items() if name != "pos_embed"})


def repvgg_by_names(weights: dict[str, torch.Tensor]) -> RepVggA0Cifar:
    """Rename timm's branches; it defines the identity before the others, we after them."""
    branches = {
        "conv_kxk.conv": "conv3",
        "conv_kxk.bn": "bn3",
        "conv_1x1.conv": "conv1",
        "conv_1x1.bn": "bn1",
        "identity": "identity_bn",
        "head.fc": "head",
    }
    renamed = {}
    for name, tensor in weights.items():
        for theirs, ours in branches.items():
            name = name.replace(theirs, ours)
        name = re.sub(r"^stages\.(\d)", lambda match: f"stage{int(match[1]) + 1}", name)
        renamed[name] = tensor
    return RepVggA0Cifar().with_weights(renamed)


PAIRS = {
    "vit_tiny": (ViTTiny.from_timm, vit_tiny),
    "convnext_atto_cifar": (ConvNextAttoCifar.from_timm, convnext),
    "repvgg_a0_cifar": (repvgg_by_names, repvgg),
    "mlp_mixer": (MlpMixer.from_timm, mixer),
    "convmixer_256_8": (ConvMixer.from_timm, convmixer),
    "simple_vit": (strip_positions, vit),
    "resnet18": (ResNet18Cifar.from_torchvision, resnet18),
}
TRAPS = {
    "vit_tiny, pooled by the mean": (ViTTiny.from_timm, lambda: vit_tiny(global_pool="avg", fc_norm=False)),
    "convnext with another activation": (ConvNextAttoCifar.from_timm, lambda: convnext(act_layer=nn.ReLU)),
    "repvgg with the stem of 224 px": (repvgg_by_names, lambda: repvgg(stem_stride=2)),
    "mixer with another activation": (MlpMixer.from_timm, lambda: mixer(act_layer=nn.ReLU)),
    "convmixer with another activation": (ConvMixer.from_timm, lambda: convmixer(act_layer=nn.ReLU)),
    "vit without the final norm": (strip_positions, lambda: without_norm(vit())),
}


def without_norm(partner: nn.Module) -> nn.Module:

    partner.norm.register_forward_hook(lambda module, args, output: args[0])
    return partner


@pytest.mark.parametrize(("build", "partner"), PAIRS.values(), ids=PAIRS)
def test_same_weights_give_the_same_results(build, partner, randomise: Randomise, difference: Difference):
    assert difference(build, randomise(partner()), torch.randn(2, 3, 32, 32)) <= 1e-13


@pytest.mark.parametrize(("build", "partner"), TRAPS.values(), ids=TRAPS)
def test_a_net_with_as_many_parameters_is_told_apart(
    build, partner, randomise: Randomise, difference: Difference
):
    assert difference(build, randomise(partner()), torch.randn(2, 3, 32, 32), gradients=False) > 1e-3


def test_a_mixer_with_swapped_ratios_is_refused():
    swapped = mixer(mlp_ratio=(4.0, 0.5))
    assert sum(parameter.numel() for parameter in swapped.parameters()) == 673_418
    with pytest.raises(CheckpointError, match="misshapen"):
        MlpMixer.from_timm(swapped.state_dict())


def test_positions_that_simple_vit_cannot_hold_are_refused():
    assert isinstance(SimpleViT.from_timm(vit().state_dict()), SimpleViT)
    learned = vit()
    nn.init.normal_(learned.pos_embed)
    with pytest.raises(CheckpointError, match="not the fixed sine table"):
        SimpleViT.from_timm(learned.state_dict())
    with pytest.raises(CheckpointError, match="class token"):
        SimpleViT.from_timm(vit(class_token=True).state_dict())
    with pytest.raises(CheckpointError, match=r"missing blocks.0.attention.qkv.bias"):
        SimpleViT.from_timm(vit(qkv_bias=False).state_dict())
