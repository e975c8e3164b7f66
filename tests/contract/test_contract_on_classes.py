"""`tn.contract` on a class that is not a `tn.Module`."""

import copy
import inspect
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypedDict

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn, ones

import tinynets as tn


@tn.contract
@dataclass
class Rays:
    origins: Float[Tensor, "n 3"]
    directions: Float[Tensor, "n 3"]
    tags: list[str] = field(default_factory=list[str])
    nears: Float[Tensor, "n"] | None = None

    def at(self, distance: Float[Tensor, "m"]) -> Float[Tensor, "n 3"]:
        return self.origins + self.directions * distance[:, None]


def test_the_fields_of_a_dataclass_share_their_axes() -> None:
    rays = Rays(ones(2, 3), ones(2, 3), nears=ones(2))
    assert rays.tags == []
    assert list(inspect.signature(Rays).parameters) == ["origins", "directions", "tags", "nears"]
    assert copy.deepcopy(rays).at(ones(2)).shape == (2, 3)
    with pytest.raises(tn.ShapeError, match=r"^Rays\(self\)\.directions: axis 0 is 4, expected n = 2"):
        Rays(ones(2, 3), ones(4, 3))
    with pytest.raises(tn.DtypeError, match=r"^Rays\(self\)\.origins: int64, expected a floating dtype"):
        Rays(ones(2, 3).long(), ones(2, 3))
    with pytest.raises(tn.ShapeError, match=r"\.nears: axis 0 is 3, expected n = 2"):
        Rays(ones(2, 3), ones(2, 3), ["far"], ones(3))
    with tn.checks(False):
        assert len(Rays(ones(2, 3), ones(4, 3)).origins) == 2


def test_methods_have_axes_of_their_own() -> None:
    rays = Rays(ones(2, 3), ones(2, 3))
    with pytest.raises(tn.ShapeError, match=r"^Rays.at\(distance\): 2 axes, expected 1"):
        rays.at(ones(2, 1))
    rays.origins, rays.directions = ones(2, 4), ones(2, 4)  # set later: not checked
    with pytest.raises(tn.ShapeError, match=r"^Rays.at returned axis 1 = 4, expected 3"):
        rays.at(ones(2))


def test_every_kind_of_member() -> None:
    @tn.contract
    class Net(nn.Module):
        width: int

        def __init__(self, weight: Float[Tensor, "width width"]) -> None:
            super().__init__()
            self.weight, self.width = weight, len(weight)

        def forward(self, x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
            mixed: Float[Tensor, "batch width"] = x @ self.weight
            return mixed

        @staticmethod
        def square(x: Float[Tensor, "a a"]) -> None: ...

        @classmethod
        def make(cls, x: Float[Tensor, "a a"]) -> "Net":
            return cls(x)

        @cached_property
        def bias(self) -> Float[Tensor, "width"]:
            return ones(3)

        @tn.contract
        def twice(self, x: Float[Tensor, "width"]) -> None: ...

        def plain(self, x: int) -> None: ...

    net: Any = Net(ones(3, 3))
    assert net(ones(2, 3)).shape == (2, 3)
    assert net.bias.shape == (3,)
    net.plain("not checked: it has no tensor annotation")
    refused = [
        lambda: Net(ones(2, 3)),
        lambda: Net.make(ones(2, 3)),
        lambda: Net.square(ones(2, 3)),
        lambda: net(ones(2, 4)),
        lambda: net.twice(ones(4)),
        lambda: Net(ones(4, 4)).bias,
    ]
    for call in refused:
        with pytest.raises(tn.ShapeError):
            call()


@pytest.mark.slow
def test_methods_are_compiled_whole_and_a_new_instance_breaks_the_graph(fresh_dynamo: None) -> None:
    rays = Rays(ones(2, 3), ones(2, 3))
    assert torch.compile(rays.at, backend="eager", fullgraph=True)(ones(2)).shape == (2, 3)

    def made(x: Tensor) -> Tensor:
        return Rays(x, x).origins + 1

    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(made, backend="eager", fullgraph=True)(ones(2, 3))
    assert torch.compile(made, backend="eager")(ones(2, 3)).shape == (2, 3)


def test_what_is_enforced_already_stays_as_it_is() -> None:
    forward = tn.TinyVisionMLP.forward
    assert tn.contract(tn.TinyVisionMLP) is tn.TinyVisionMLP
    assert tn.TinyVisionMLP.forward is forward


def test_a_named_tuple() -> None:
    @tn.contract
    class Pair(NamedTuple):
        left: Float[Tensor, "n"]
        right: Float[Tensor, "n"]

    assert Pair(ones(2), right=ones(2)).left.shape == (2,)
    with pytest.raises(tn.ShapeError, match=r"^Pair\(self\)\.right: axis 0 is 3, expected n = 2"):
        Pair(ones(2), right=ones(3))


class Record(TypedDict):
    left: Float[Tensor, "n"]


class Late:
    left: Float[Tensor, "n"]


@pytest.mark.parametrize("cls", [int, Record, Late])
def test_a_class_with_nothing_to_enforce_is_refused(cls: type) -> None:
    text = f"contract\\({cls.__name__}\\): it has no method and no dataclass field with a tensor annotation"
    with pytest.raises(TypeError, match=text):
        tn.contract(cls)
