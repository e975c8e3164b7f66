"""What type checkers must accept; `reveal_type` lines name the type that they must find."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_type, reveal_type

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

import tinynets as tn

images = torch.rand(4, 1, 28, 28)

model = tn.TinyVisionMLP(hidden=64, num_classes=3, dropout=0.5, generator=torch.Generator())
reveal_type(model(images))  # Tensor
reveal_type(model(images=images))  # Tensor
reveal_type(tn.CifarMLP()(images))  # Tensor
assert_type(model.hidden, int)
assert_type(model.num_classes, int)
assert_type(model.config.build(), tn.TinyVisionMLP)
assert_type(tn.create_model("resnet20"), tn.models.CifarResNet)
assert_type(tn.create_model("cct_2_3x2", num_classes=100), tn.models.CCT)
assert_type(tn.create_model("lenet5", pretrained="mnist5k"), tn.models.LeNet5)
assert_type(tn.create_model(tn.list_models()[0]), tn.models.ImageClassifier)

with tn.training(model):
    loss = F.cross_entropy(model(images), torch.tensor([0, 1, 2, 0]))
with tn.evaluating(model), tn.checks(False):
    reveal_type(model(images).argmax(dim=1))  # Tensor


@tn.inference(model)
def predict(batch: Float[Tensor, "batch 1 28 28"]) -> Int[Tensor, "batch"]:
    return model(batch).argmax(dim=1)


reveal_type(predict(images))  # Tensor


class Own(tn.Module):
    """A user's model: several inputs, one of them optional, and a tuple of results."""

    width: int

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.width = width
        self.head = nn.Linear(784, width)
        self.inner = tn.TinyVisionMLP()

    def forward(
        self, first: Float[Tensor, "batch 1 28 28"], second: Float[Tensor, "batch 784"] | None = None
    ) -> tuple[Float[Tensor, "batch width"], int]:
        flat: Float[Tensor, "batch 784"] = rearrange(first, "b c h w -> b (c h w)")
        reveal_type(self.inner(first))  # Tensor
        return self.head(flat if second is None else second), len(flat)


own = Own(width=8)
reveal_type(own(images))  # tuple[Tensor, int]
reveal_type(own(images, second=None)[0])  # Tensor


class Scaled(Own):
    """A subclass of a user's model with a `forward` of its own."""

    def forward(
        self, first: Float[Tensor, "batch 1 28 28"], second: Float[Tensor, "batch 784"] | None = None
    ) -> tuple[Float[Tensor, "batch width"], int]:
        logits, count = super().forward(first, second)
        return 2 * logits, count


reveal_type(Scaled(width=8)(images))  # tuple[Tensor, int]
as_plain_module: nn.Module = own
as_function: Callable[[Tensor], Tensor] = model
as_any_function: Callable[..., object] = own


def any_model(some: tn.Module) -> None:
    some(images)


sequence = nn.Sequential(model, nn.ReLU())


class Plain(tn.Module):
    """`return self.fc(first)` would return Any, which strict mypy refuses; the annotation of the line says what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, first: Float[Tensor, "batch 784"]) -> Float[Tensor, "batch 10"]:
        logits: Float[Tensor, "batch 10"] = self.fc(first)
        return logits


tn.testing.check_model(model, groups="batch", on_fail="collect")
tn.testing.check_model(model, groups=("runs", "shapes"), checks="mine.*")
tn.testing.check_model(model, groups={"runs", "state"}, checks=["batch.*", "purity.threads"])


@tn.contract
def normalise(batch: Float[Tensor, "batch 1 28 28"], *, scale: float = 1.0) -> Float[Tensor, "batch 1 28 28"]:
    return batch / scale


reveal_type(normalise(images, scale=255.0))  # Tensor

try:
    model(images[0])
except tn.ShapeError as error:
    assert_type(error.axis, int | None)
    assert_type(error.where, str)
