"""Which names of the zoo the expensive tests run."""

from __future__ import annotations

import os

from tinynets.models import list_models

# Tests that compile, export, learn or run every check take minutes for each of these. Most of their blocks are also in
# a name that is swept (basic blocks, those of WRN, convolutions and linear layers), and none has a line of a new kind.
# They have the cheap tests in CI (counts, shapes, heads, seeds, parity), and with TINYNETS_ALL=1 all of them.
LATER = {
    "mnist_cnn",
    "resnet34_cifar",
    "resnet50_cifar",
    "resnet9",
    "preact_resnet18",
    "se_resnet20",
    "resnext29_2x64d",
    "resnext29_8x64d",
}
SWEPT = [name for name in list_models() if name not in LATER or os.environ.get("TINYNETS_ALL") == "1"]
