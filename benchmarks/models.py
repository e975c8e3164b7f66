"""Every model beside its public partner at equal weights: forward, and forward with backward.

Wants torchvision and timm (`make parity` brings them). One thread; both sides take turns.
`--compiled` adds `torch.compile` on both sides, which takes minutes.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import timm.models.convmixer
import timm.models.mlp_mixer
import timm.models.vision_transformer
import torch
import torchvision.models as tv
from harness import Spread, Variant, interleaved, ratio, table, write
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

import tinynets as tn
from tinynets import models
from tinynets.models.mobilenet import STAGES
from tinynets.models.vit import sine_positions

Pair = tuple[models.ImageClassifier, nn.Module]


class ThinResNet(nn.Module):
    """ResNet-20 with shortcut B out of torchvision's blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        for stage, (before, width) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            blocks = [BasicBlock(width, width) for _ in range(3)]
            if before != width:
                shortcut = nn.Sequential(nn.Conv2d(before, width, 1, 2, bias=False), nn.BatchNorm2d(width))
                blocks[0] = BasicBlock(before, width, 2, shortcut)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.fc(torch.flatten(self.avgpool(self.layer3(self.layer2(self.layer1(x)))), 1))


def resnet20() -> Pair:
    partner = ThinResNet()
    return models.CifarResNet.from_chenyaofo(partner.state_dict()), partner


def resnet18() -> Pair:
    partner = tv.resnet18(num_classes=10)
    partner.conv1, partner.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return models.ResNet18Cifar.from_torchvision(partner.state_dict()), partner


def mobilenet() -> Pair:
    setting = [list(stage) for stage in STAGES]
    partner = tv.mobilenet_v2(num_classes=10, inverted_residual_setting=setting)
    partner.features[0][0].stride = (1, 1)
    return models.MobileNetV2Cifar.from_torchvision(partner.state_dict()), partner


def densenet() -> Pair:
    partner = tv.DenseNet(growth_rate=12, block_config=(16, 16, 16), num_init_features=24, num_classes=10)
    partner.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    partner.features.norm0 = partner.features.relu0 = partner.features.pool0 = nn.Identity()
    return models.DenseNetBC.from_torchvision(partner.state_dict()), partner


def vgg16() -> Pair:
    partner = nn.Sequential()
    partner.add_module("features", tv.vgg16_bn().features)
    partner.add_module("flatten", nn.Flatten())
    partner.add_module("classifier", nn.Linear(512, 10))
    return models.Vgg16Cifar.from_torchvision(partner.state_dict()), partner


def mlp_mixer() -> Pair:
    partner = timm.models.mlp_mixer.MlpMixer(
        img_size=32, patch_size=4, embed_dim=128, num_blocks=8, num_classes=10
    )
    nn.init.normal_(partner.head.weight)
    return models.MlpMixer.from_timm(partner.state_dict()), partner


def convmixer() -> Pair:
    partner = timm.models.convmixer.ConvMixer(dim=256, depth=8, kernel_size=5, patch_size=2, num_classes=10)
    return models.ConvMixer.from_timm(partner.state_dict()), partner


def simple_vit() -> Pair:
    partner = timm.models.vision_transformer.VisionTransformer(
        img_size=32,
        patch_size=4,
        embed_dim=192,
        depth=6,
        num_heads=3,
        class_token=False,
        global_pool="avg",
        fc_norm=False,
        num_classes=10,
    )
    partner.pos_embed = nn.Parameter(sine_positions(8, 192).float()[None], requires_grad=False)
    return models.SimpleViT.from_timm(partner.state_dict()), partner


PAIRS: dict[str, tuple[str, Callable[[], Pair]]] = {
    "resnet20, shortcut B": ("torchvision's blocks", resnet20),
    "resnet18_cifar": ("torchvision", resnet18),
    "mobilenet_v2_cifar": ("torchvision", mobilenet),
    "densenet_bc_100_12": ("torchvision", densenet),
    "vgg16_cifar": ("torchvision", vgg16),
    "mlp_mixer": ("timm", mlp_mixer),
    "convmixer_256_8": ("timm", convmixer),
    "simple_vit": ("timm", simple_vit),
}


def forward(model: nn.Module) -> Callable[[Tensor], object]:
    """Return what is timed as inference."""

    def call(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(images)

    return call


def forward_backward(model: nn.Module) -> Callable[[Tensor], object]:
    """Return what is timed as training."""

    def call(images: Tensor) -> None:
        model(images).sum().backward()

    return call


def compare(pair: Pair, batch: int, rounds: int, compiled: bool) -> dict[str, dict[str, Any]]:
    """Time both sides, and ours with checks off, in eval and in training."""
    ours, theirs = pair
    images = torch.randn(batch, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-3, atol=1e-3)
    results: dict[str, dict[str, Any]] = {}
    for task, timed in {"forward": forward, "forward and backward": forward_backward}.items():
        training = task != "forward"
        sides = [side.train(training) for side in (ours, theirs)]
        if compiled:
            torch.compiler.reset()
            sides = [torch.compile(side) for side in sides]
        variants = [Variant("ours", timed(sides[0])), Variant("partner", timed(sides[1]))]
        if not compiled:
            off = Variant("checks off", timed(sides[0]), lambda: tn.checks(False))
            variants.append(off)
        seconds = interleaved(variants, images, rounds=rounds)
        results[task] = {
            "milliseconds": Spread.of(seconds["ours"]).scaled(1000),
            **{
                side.name: ratio(seconds, side.name, "partner") for side in variants if side.name != "partner"
            },
            # What a busy machine does to a call only makes it slower: the fastest calls compare best.
            "fastest": min(seconds["ours"]) / min(seconds["partner"]),
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--compiled", action="store_true", help="compile both sides")
    parser.add_argument("--only", nargs="*", default=list(PAIRS), choices=list(PAIRS), metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # torch.compile's hints on its own settings
    torch.manual_seed(0)

    record: dict[str, Any] = {"batch": options.batch, "compiled": options.compiled, "models": {}}
    rows: list[list[str]] = []
    for name in options.only:
        partner, build = PAIRS[name]
        results = compare(build(), options.batch, options.rounds, options.compiled)
        record["models"][name] = {
            task: {
                side: value.record() if isinstance(value, Spread) else round(value, 4)
                for side, value in sides.items()
            }
            for task, sides in results.items()
        }
        row = [name, partner]
        for sides in results.values():
            row += [sides["milliseconds"].text(1), sides["ours"].text(3), f"{sides['fastest']:.3f}"]
        rows.append(row)
        print("  ".join(rows[-1]), flush=True)
    print()
    figures = ["ms", "/ partner", "fastest / fastest"]
    header = [
        "model",
        "partner",
        *(f"{task}, {figure}" for task in ("forward", "training") for figure in figures),
    ]
    print(table(header, rows))
    suffix = "_compiled" if options.compiled else ""
    print(write(f"models{suffix}_batch{options.batch}", record))


if __name__ == "__main__":
    main()
