"""The zoo's own test matrix: every class through every check of `tinynets.testing`; `TINYNETS_ALL=1`: every name.

`tests/models` has what the checks do not know of: parameter counts, feature maps, heads, configurations, wrong
images.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch

import tinynets as tn
from tinynets.inputs.examples import example_arguments
from tinynets.testing import Case, Check, Options

from ..zoo_names import CLASSES, SWEPT, shallow

# The quick loop takes the smallest models of two families; the others are marked slow.
QUICK = ("lenet5", "tiny_vision_mlp")
# Smaller images for what takes long, large enough that batch norms see more than one pixel.
IMAGES: dict[str, int] = {
    **dict.fromkeys(["mobilenet_v2_cifar", "resnet18_cifar", "resnet110"], 16),
    **dict.fromkeys(["resnet32", "resnet44", "resnet56", "wrn_16_4", "wrn_28_10"], 8),
    **dict.fromkeys(["densenet_bc_100_12", "convmixer_256_8", "se_resnet20", "resnext29_2x64d"], 8),
    **dict.fromkeys(
        ["resnet9", "repvgg_a0_cifar", "efficientnet_b0_cifar", "googlenet_cifar", "shufflenet_v2_cifar"], 16
    ),
}
SUPPORTED = {"batch.empty", "batch.train_one", "state.pickle", "device.meta_init", "gradients.checkpoint"}
# Its positions are no part of a checkpoint: `init` makes them, as it does everything after `to_empty`.
UNSUPPORTED = {"simple_vit": {"device.meta_init"}}


def case(name: str) -> Case:
    inputs = (f"batch 3 {IMAGES[name]} {IMAGES[name]}",) if name in IMAGES else ()
    config = {"image_size": 16} if name == "cct_7_3x1" else {}
    supports = SUPPORTED - UNSUPPORTED.get(name, set())
    return Case(name, partial(shallow(name), **config), inputs, Options(supports=supports, timeout=None))


@tn.testing.parametrize_checks([case(name) for name in QUICK])
def test_small_models(check: Check):
    check()


@pytest.mark.slow
@tn.testing.parametrize_checks([case(name) for name in SWEPT if name not in QUICK])
def test_models(check: Check):
    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_every_class_compiles(name: str):
    """`transforms.compile_dynamic` sees all that `transforms.compile` does; `tests/export` exports every class."""
    check = "transforms.compile_dynamic"
    report = tn.testing.check_model(shallow(name), slow=True, checks=[check], timeout=None)
    assert report[check].status == "passed", report[check].message


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_every_class_compiles_in_training_mode(name: str):
    model = shallow(name)()
    torch.compiler.reset()
    compiled = torch.compile(model.train(), backend="eager", fullgraph=True)
    compiled(*example_arguments(model, (), {}).args).sum().backward()
    torch.compiler.reset()
    assert model.classifier.weight.grad is not None
