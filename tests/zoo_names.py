"""The names of the zoo that costly tests go through; `TINYNETS_ALL=1 pytest` goes through all."""

import os

from tinynets.models import list_models
from tinynets.models.registry import MODELS

# Their blocks are also in a class that is swept (basic blocks, those of WRN, ViT, MobileNetV2), or have convolutions, linear layers
# and norms like those. They have the cheap tests: counts, shapes, heads, seeds, parity.
LATER = {
    "mnist_cnn",
    "googlenet_cifar",
    "shufflenet_v2_cifar",
    "efficientnet_b0_cifar",
    "repvgg_a0_cifar",
    "convnext_atto_cifar",
    "vit_tiny",
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
SWEPT = list_models() if os.environ.get("TINYNETS_ALL") == "1" else CLASSES
