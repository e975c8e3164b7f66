"""The whole zoo is exact to the bit, at every batch and image size that a model takes."""

from __future__ import annotations

import pytest
import torch

import tinynets as tn

from ..export.nets import images_for, trained
from ..zoo_names import SWEPT
from . import nets

SMALL = ("tiny_vision_mlp", "lenet5")


@pytest.mark.parametrize(
    "name", [name if name in SMALL else pytest.param(name, marks=pytest.mark.slow) for name in SWEPT]
)
def test_the_bits_of_the_model(name: str) -> None:
    model = trained(name)
    fast = tn.optimize_for_inference(model)
    first = images_for(model, 7)
    # Each call without images traces a ConvNeXt anew, which is right, and slower than the model.
    batches = (0, 1, 2, 7) if name != "convnext_atto_cifar" else (1, 2, 7)
    for size in {first.shape[2:], (40, 36)}:
        for batch in batches if size == first.shape[2:] else (2,):
            x = torch.randn(batch, first.shape[1], *size)
            error = nets.error_of(tn.inference(model)(lambda x=x: model(x)))
            if error is not None:
                found = nets.error_of(lambda x=x: fast(x))
                assert (type(found), str(found)) == (tn.ShapeError, str(error))
                continue
            assert nets.equal(fast, model, x), (batch, size)
            assert nets.equal(fast, model, x), (batch, size)
            assert nets.took_a_line(fast, x), (batch, size)
