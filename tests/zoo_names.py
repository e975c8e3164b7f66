"""Which names of the zoo the expensive tests run."""

from __future__ import annotations

import os

from tinynets.models import list_models

# Tests that compile, export, learn or run every check take a minute or more for each of these. Their blocks are also in
# a name that is swept (basic blocks, those of WRN and ViT), or have convolutions, linear layers and norms like those.
# They have the cheap tests in CI (counts, shapes, heads, seeds, parity), and with TINYNETS_ALL=1 all of them.
LATER = {
    "mnist_cnn",
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
SWEPT = [name for name in list_models() if name not in LATER or os.environ.get("TINYNETS_ALL") == "1"]
