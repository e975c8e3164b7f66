"""The net of this folder, which each test has to hand back in its modes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from .nets import MIXED, Net, flags


@pytest.fixture
def net() -> Iterator[Net]:
    model = Net()
    yield model
    assert flags(model) == MIXED
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
