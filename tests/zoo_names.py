"""The names of the zoo that costly tests go through; `TINYNETS_ALL=1 pytest` goes through all."""

import os
from functools import partial

from tinynets.models import ImageClassifier, list_models
from tinynets.models.registry import MODELS

# Their blocks are also in a class that is swept (basic blocks, those of Airbench, WRN, ViT, MobileNetV2), or have convolutions, linear layers
# and norms like those. They have the cheap tests: counts, shapes, heads, seeds, parity.
LATER = {
    "mnist_cnn",
    "vgg16_cifar",
    "googlenet_cifar",
    "shufflenet_v2_cifar",
    "efficientnet_b0_cifar",
    "repvgg_a0_cifar",
    "convnext_atto_cifar",
    "vit_tiny",
    "resnet18_cifar",
    "resnet34_cifar",
    "resnet50_cifar",
    "resnet9",
    "preact_resnet18",
    "se_resnet20",
    "resnext29_2x64d",
    "resnext29_8x64d",
}
# The first name of each class: its other depths and widths are the same lines.
CLASSES = list(
    {MODELS[name].class_name: name for name in reversed(list_models()) if name not in LATER}.values()
)[::-1]
EVERYTHING = os.environ.get("TINYNETS_ALL") == "1"
SWEPT = list_models() if EVERYTHING else CLASSES
# What repeats, once or twice: what reads a model line by line sees nothing new in the tenth block.
SHALLOW: dict[str, dict[str, int]] = {
    "resnet20": {"depth": 8},
    "wrn_16_4": {"depth": 10},
    "se_resnet20": {"depth": 8},
    "densenet_bc_100_12": {"depth": 16},
    "convmixer_256_8": {"depth": 2},
    "mlp_mixer": {"depth": 2},
    "simple_vit": {"depth": 2},
    "vit_tiny": {"depth": 2},
}


def shallow(name: str) -> partial[ImageClassifier]:
    """Return what builds a model of the class of a name, with few blocks; all of them where all names are asked for."""
    few = {} if EVERYTHING else SHALLOW.get(name, {})
    return partial(MODELS[name].model, **{**MODELS[name].fixed, **few})
