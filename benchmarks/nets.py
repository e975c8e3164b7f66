"""The README's perceptron with each way to check its shapes, and a deep model."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Annotated

import dltype
import torch
import torch.nn.functional as F
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor, nn

import tinynets as tn


class Plain(nn.Module):
    """The perceptron with a submodule for every step, unchecked."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(784, 256)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.1)
        self.fc2 = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        flat = self.flatten(images)
        first = self.act(self.fc1(flat))
        kept = self.drop(first)
        return self.fc2(kept)


class Jaxtyped(Plain):
    """Two tensors checked: the argument and the result."""

    @jaxtyped(typechecker=beartype)
    def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch 10"]:
        flat = self.flatten(images)
        first = self.act(self.fc1(flat))
        kept = self.drop(first)
        return self.fc2(kept)


class Dltyped(Plain):
    """Two tensors checked: the argument and the result."""

    @dltype.dltyped()
    def forward(
        self, images: Annotated[Tensor, dltype.FloatTensor["batch 1 28 28"]]
    ) -> Annotated[Tensor, dltype.FloatTensor["batch 10"]]:
        flat = self.flatten(images)
        first = self.act(self.fc1(flat))
        kept = self.drop(first)
        return self.fc2(kept)


class Bare(nn.Module):
    """A single module without submodules: the cost of the arithmetic."""

    def __init__(self, fc1: nn.Linear, fc2: nn.Linear) -> None:
        super().__init__()
        self.parts = fc1.weight, fc1.bias, fc2.weight, fc2.bias

    def __call__(self, images: Tensor) -> Tensor:
        weight1, bias1, weight2, bias2 = self.parts
        return F.linear(F.relu(F.linear(images.flatten(1), weight1, bias1)), weight2, bias2)


class Block(tn.Module):
    """One of the blocks of a deep model; four tensors checked."""

    width: int

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(width, width)

    def forward(self, features: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        mixed: Float[Tensor, "batch width"] = F.relu(self.linear(features))
        added: Float[Tensor, "batch width"] = features + mixed
        return added


class Deep(tn.Module):
    """A stack of blocks; checks two tensors itself."""

    width: int

    def __init__(self, *, depth: int = 24, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))

    def forward(self, features: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        return self.blocks(features)


def define() -> type[nn.Module]:
    """Define a class like TinyVisionMLP: the one-time cost of a user's module."""

    class Fresh(tn.Module):
        hidden: int
        num_classes: int

        def forward(self, images: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch num_classes"]:
            flat: Float[Tensor, "batch 784"] = images.flatten(1)
            first: Float[Tensor, "batch hidden"] = F.relu(self.fc1(flat))
            kept: Float[Tensor, "batch hidden"] = F.dropout(first, 0.1, self.training)
            logits: Float[Tensor, "batch num_classes"] = self.fc2(kept)
            return logits

    return Fresh


def with_weights_of(model: tn.TinyVisionMLP, module: nn.Module) -> nn.Module:
    module.load_state_dict(model.state_dict())
    return module.eval()


def num_checked(module_class: type[nn.Module]) -> int:
    """Count the annotated tensors of a `forward`: arguments, local assignments and the result."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(module_class.forward))).body
    assert isinstance(function, ast.FunctionDef)
    arguments = sum(argument.annotation is not None for argument in function.args.args)
    local = sum(isinstance(node, ast.AnnAssign) for node in ast.walk(function))
    return arguments + local + (function.returns is not None)


def digits(batch: int) -> Tensor:
    return torch.rand(batch, 1, 28, 28)
