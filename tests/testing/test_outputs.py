"""Outputs of every kind are looked into, whether torch knows their class or not."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import tinynets as tn
from tinynets.testing.measure.compare import leaves, outline

from .nets import GIVEN, Good


@dataclass
class Result:
    logits: Tensor
    hidden: tuple[Tensor, ...] = ()
    note: str = ""


class Pair(NamedTuple):
    mean: Tensor
    spread: Tensor


class Registered(dict):
    """An output as diffusers has it: registered, but without names for its parts."""


pytree.register_pytree_node(
    Registered,
    lambda value: (list(value.values()), list(value)),
    lambda v, c: Registered(zip(c, v, strict=True)),
)


class Opaque:
    def __init__(self, value: Any) -> None:
        self.value = value
        self.itself = self


ONE, TWO = torch.zeros(4, 2), torch.ones(4)


@pytest.mark.parametrize(
    ("output", "paths"),
    [
        (ONE, [""]),
        ((ONE, [TWO]), ["[0]", "[1][0]"]),
        ({"a": ONE, "b": {1: TWO}}, ["['a']", "['b'][1]"]),
        (Pair(ONE, TWO), [".mean", ".spread"]),
        (Result(ONE, (TWO,)), [".logits", ".hidden[0]"]),
        ({"out": Result(ONE)}, ["['out'].logits"]),
        (Registered(x=ONE, y=TWO), ["['x']", "['y']"]),
        (torch.distributions.Normal(ONE, ONE + 1), [".loc", ".scale"]),
        (Opaque([ONE]), [".value[0]"]),
        (None, []),
        ("text", []),
        (nn.Linear(2, 2), []),
    ],
)
def test_the_tensors_and_their_places(output: Any, paths: list[str]) -> None:
    assert [leaf.path for leaf in leaves(output)] == paths


def test_the_outline_shows_types_in_place_of_values() -> None:
    assert outline((ONE, {"a": [TWO, 3]})) == "(float32[4 2], {'a': [float32[4], int]})"
    assert outline(Result(ONE)) == "Result(logits=float32[4 2], hidden=(), note=str)"
    assert outline(Pair(ONE, TWO), sizes=False) == "Pair(mean=float32 of rank 2, spread=float32 of rank 1)"


class ReturnsARecord(Good):
    def forward(self, x: Tensor) -> dict[str, Result]:
        return {"out": Result(self.linear(x))}


class MixesInARecord(Good):
    def forward(self, x: Tensor) -> Result:
        return Result(self.linear(x).softmax(0))


class ReturnsRegistered(Good):
    def forward(self, x: Tensor) -> Registered:
        return Registered(sample=self.linear(x))


@pytest.mark.parametrize("model", [ReturnsARecord, ReturnsRegistered])
def test_models_with_such_outputs_pass(model: type[nn.Module]) -> None:
    report = tn.testing.check_model(model, GIVEN)
    assert report["batch.neighbour"].status == "passed"


def test_a_bug_behind_such_an_output_is_found() -> None:
    report = tn.testing.check_model(MixesInARecord, GIVEN, groups=["batch"], on_fail="collect")
    assert report["batch.neighbour"].failure is not None
    assert report["batch.neighbour"].failure.where.startswith("output.logits[")


class RaisesOnUnknownNames(nn.Module):
    """Its `__getattr__` raises another error than AttributeError, as some wrappers' does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 5)

    def __getattr__(self, name: str) -> Any:
        if name in self._modules:
            return self._modules[name]
        if name in (
            "_is_replica",
            "__deepcopy__",
            "__setstate__",
        ):  # which torch and copy ask every module for
            raise AttributeError(name)
        raise KeyError(name)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_a_module_may_refuse_names_in_its_own_way() -> None:
    report = tn.testing.check_model(RaisesOnUnknownNames, GIVEN, on_fail="collect")
    assert not report.with_status("error"), str(report)
    assert report.ok, str(report)
