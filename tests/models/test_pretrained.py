"""The weights that come with the package are those of their card, and the errors say what there is and is not."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import tinynets as tn
from tinynets.checkpoint import read_header
from tinynets.models import create_model
from tinynets.models.pretrained import WEIGHTS, list_weights

CARD = (WEIGHTS / "README.md").read_text()
SHIPPED = [(name, weights) for name, all_of in list_weights().items() for weights in all_of]


def row(name: str, column: str) -> str:
    """The last cell of the row of a name, in the table of the card whose last column is `column`."""
    table = re.search(rf"\| {column} \|\n(.*?)(\n\n|\Z)", CARD, re.DOTALL)
    assert table
    (line,) = (line for line in table[1].splitlines() if line.startswith(f"| `{name}` "))
    return line.split("|")[-2].strip().strip("`")


def test_what_there_is():
    assert list_weights() == {"lenet5": ["mnist5k"], "tiny_vision_mlp": ["mnist5k"]}
    files = list(WEIGHTS.iterdir())
    assert sum(path.stat().st_size for path in files) < 1.2e6
    assert len(files) == len(SHIPPED) + 1


@pytest.mark.parametrize(("name", "weights"), SHIPPED)
def test_the_weights_are_those_of_the_card(name: str, weights: str):
    model = create_model(name, pretrained=weights)
    assert type(model) is type(create_model(name))
    assert not model.training
    assert model.normalization == tn.Normalization(mean=(0.1307,), std=(0.3081,))
    with tn.inference(model):
        logits = model(torch.linspace(0, 1, 784).reshape(1, 1, 28, 28))[0]
    expected = torch.tensor([float(number) for number in row(name, "logits").split()])
    torch.testing.assert_close(logits, expected, atol=6e-4, rtol=1e-4)
    path = WEIGHTS / f"{name}-{weights}.safetensors"
    assert read_header(path).sha256 == row(name, "SHA-256 in its header")
    assert f"`{path.name}` | {sum(each.numel() for each in model.parameters()):,} |" in CARD


def test_no_weights_is_the_default():
    torch.manual_seed(0)
    fresh = create_model("lenet5")
    for none in (None, False):
        torch.manual_seed(0)
        assert torch.equal(create_model("lenet5", pretrained=none).head.weight, fresh.head.weight)


def test_arguments_that_the_weights_have_are_accepted():
    model = create_model("lenet5", pretrained="mnist5k", num_classes=10, image_size=28)
    model.reset_head(7)
    assert model.config.num_classes == 7


ALL = "lenet5 has 'mnist5k'; tiny_vision_mlp has 'mnist5k'"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lenet5", {"pretrained": True}, "lenet5 has no weights True: it has 'mnist5k'"),
        ("lenet5", {"pretrained": "mnist"}, "lenet5 has no weights 'mnist': it has 'mnist5k'"),
        (
            "resnet20",
            {"pretrained": True},
            f"resnet20 comes without weights, so pretrained=True cannot be ({ALL}). "
            "CifarResNet.from_akamaster(state_dict) takes `resnet20` and the like of pytorch_resnet_cifar10, trained "
            "with shortcut A. CifarResNet.from_chenyaofo(state_dict) takes `cifar10_resnet20` and the like of pytorch-cifar-models.",
        ),
        (
            "cifar_mlp",
            {"pretrained": "mnist5k"},
            f"cifar_mlp comes without weights, so pretrained='mnist5k' cannot be ({ALL}). "
            "Nobody else's fit CifarMLP either.",
        ),
        (
            "lenet5",
            {"pretrained": "mnist5k", "num_classes": 5},
            "lenet5 with pretrained='mnist5k' has num_classes=10, not 5; "
            "model.reset_head(num_classes) gives it another head",
        ),
        (
            "tiny_vision_mlp",
            {"pretrained": "mnist5k", "hidden": 64},
            "tiny_vision_mlp with pretrained='mnist5k' has hidden=256, not 64",
        ),
        (
            "lenet5",
            {"pretrained": "mnist5k", "generator": torch.Generator()},
            "lenet5 with pretrained='mnist5k' draws no weights: leave generator out",
        ),
    ],
)
def test_what_is_refused(name: str, options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=".") as caught:
        create_model(name, **options)
    assert str(caught.value) == message
