"""Compare models with public implementations at equal weights: forward, and forward with backward.

Needs torchvision and timm (`make parity` installs them). One thread; both sides take turns.
`--compiled` compiles both sides, which takes minutes; `--only lenet5 cct_2_3x2` selects models.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import public_forms
import torch
from harness import CONTROL, Spread, Variant, control, interleaved, ratio, table, write
from torch import Tensor, nn

import tinynets as tn
from tinynets.models import (
    Airbench94Net,
    CifarMLP,
    CifarResNet,
    ConvMixer,
    DenseNetBC,
    ImageClassifier,
    LeNet5,
    MlpMixer,
    ResNet18Cifar,
    SimpleViT,
    TinyVisionMLP,
    Vgg16Cifar,
    WideResNet,
)

# For the partners of the parity tests, where those are the code that people run.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
import references
import timm_nets
import torchvision_nets
from references import cct_without_dropout, in_order


@dataclass(frozen=True)
class Pair:
    """A partner, its name, and how to build our model from its weights."""

    label: str
    partner: Callable[[], nn.Module]
    ours: Callable[[dict[str, Tensor]], ImageClassifier]
    image: tuple[int, int, int] = (3, 32, 32)

    def build(self) -> tuple[ImageClassifier, nn.Module]:
        partner = self.partner()
        for parameter in partner.parameters():
            if not parameter.any():  # with a zero head, all nets would agree
                nn.init.normal_(parameter, std=0.02)
        return self.ours(partner.state_dict()), partner


def airbench() -> nn.Module:
    """Return airbench94 with the same parameters frozen as in the authors' code."""
    partner = references.airbench_reference()
    for module in partner.modules():
        if isinstance(module, nn.BatchNorm2d) or module is partner[0]:
            module.weight.requires_grad_(False)
    return partner


GREY = (1, 28, 28)
REFERENCE, PUBLIC, SEQUENTIAL = "loop in one forward", "module for each block", "nn.Sequential"
PAIRS: dict[str, Pair] = {
    "tiny_vision_mlp": Pair(
        f"{SEQUENTIAL}, no dropout",
        lambda: public_forms.perceptron(784, 256, 10, dropout=False),
        in_order(TinyVisionMLP),
        GREY,
    ),
    "cifar_mlp": Pair(
        SEQUENTIAL, lambda: public_forms.perceptron(3072, 512, 256, 10, dropout=True), in_order(CifarMLP)
    ),
    "lenet5": Pair(SEQUENTIAL, references.lenet_reference, in_order(LeNet5), GREY),
    "resnet20": Pair(PUBLIC, public_forms.ResNet20, in_order(CifarResNet)),
    "resnet20, against a loop": Pair(
        REFERENCE, lambda: references.ReferenceResNet(20, "A"), in_order(CifarResNet)
    ),
    "resnet20, shortcut B": Pair(
        "torchvision's blocks", torchvision_nets.ThinResNet, CifarResNet.from_chenyaofo
    ),
    "resnet18_cifar": Pair("torchvision", torchvision_nets.resnet18, ResNet18Cifar.from_torchvision),
    "wrn_16_4": Pair(PUBLIC, public_forms.WideResNet, in_order(WideResNet)),
    "wrn_16_4, against a loop": Pair(
        REFERENCE, lambda: references.ReferenceWideResNet(16, 4), in_order(WideResNet)
    ),
    "mobilenet_v2_cifar": Pair(
        "torchvision", torchvision_nets.mobilenet, torchvision_nets.mobilenet_without_dropout
    ),
    "densenet_bc_100_12": Pair("torchvision", torchvision_nets.densenet, DenseNetBC.from_torchvision),
    "vgg16_cifar": Pair("torchvision", torchvision_nets.vgg16, Vgg16Cifar.from_torchvision),
    "airbench94": Pair(SEQUENTIAL, airbench, in_order(Airbench94Net)),
    "mlp_mixer": Pair("timm", timm_nets.mixer, MlpMixer.from_timm),
    "convmixer_256_8": Pair("timm", timm_nets.convmixer, ConvMixer.from_timm),
    "simple_vit": Pair("timm", timm_nets.vit, SimpleViT.from_timm),
    "cct_2_3x2": Pair(PUBLIC, public_forms.Cct, cct_without_dropout),
    "cct_2_3x2, against a loop": Pair(REFERENCE, lambda: references.ReferenceCCT(2, 2), cct_without_dropout),
    "cct_7_3x1": Pair(REFERENCE, lambda: references.ReferenceCCT(7, 1), cct_without_dropout),
}


def forward(model: nn.Module) -> Callable[[Tensor], object]:
    """Return the call that is timed as inference."""

    def call(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(images)

    return call


def forward_backward(model: nn.Module) -> Callable[[Tensor], object]:
    """Return the call that is timed as training."""

    def call(images: Tensor) -> None:
        model(images).sum().backward()

    return call


def compare(pair: Pair, batch: int, rounds: int, compiled: bool) -> dict[str, dict[str, Any]]:
    """Time both sides, and ours with checks off, in eval and in training."""
    ours, theirs = pair.build()
    images = torch.randn(batch, *pair.image)
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
        seconds = interleaved(variants, images, rounds=rounds, base="partner")
        print(f"{task}: {control(seconds, 'partner')}")
        results[task] = {
            "milliseconds": Spread.of(seconds["ours"]).scaled(1000),
            **{
                side.name: ratio(seconds, side.name, "partner") for side in variants if side.name != "partner"
            },
            # A busy machine can only slow calls down, so the fastest calls compare best.
            "control": ratio(seconds, CONTROL, "partner"),
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
    warnings.simplefilter("ignore", UserWarning)  # torch.compile's hints about its settings
    torch.manual_seed(0)

    record: dict[str, Any] = {"batch": options.batch, "compiled": options.compiled, "models": {}}
    rows: list[list[str]] = []
    for name in options.only:
        results = compare(PAIRS[name], options.batch, options.rounds, options.compiled)
        record["models"][name] = {
            task: {
                side: value.record() if isinstance(value, Spread) else round(value, 4)
                for side, value in sides.items()
            }
            for task, sides in results.items()
        }
        row = [name, PAIRS[name].label]
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
