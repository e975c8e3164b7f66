"""RepVGG after training: one convolution a block, and the same outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import tinynets as tn
from tinynets.models import RepVggA0Cifar


@pytest.mark.slow
def test_a_fused_net_computes_the_same(tmp_path: Path):
    model = RepVggA0Cifar(in_channels=1, num_classes=7, generator=torch.Generator().manual_seed(0)).double()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.2)
        nn.init.normal_(norm.running_mean, std=0.2)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    model.normalization = tn.Normalization((0.13,), (0.31,))
    images = torch.randn(2, 1, 12, 12, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fused = model.fuse()
    assert not fused.training
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with tn.inference(model, fused):
        expected = model(images)
        assert (fused(images) - expected).abs().max() <= 1e-12 * expected.abs().max()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert fused.normalization == model.normalization
    fused.save(tmp_path / "fused")
    loaded = tn.load(tmp_path / "fused")
    assert torch.equal(loaded(images), fused(images))
    with pytest.raises(ValueError, match="this RepVggA0Cifar is fused already"):
        loaded.fuse()


def test_the_parameters_of_the_fused_net():
    with torch.device("meta"):
        assert sum(each.numel() for each in RepVggA0Cifar(fused=True).parameters()) == 7_041_194
