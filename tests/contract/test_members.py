"""Every method of a module with a tensor annotation is enforced, whatever descriptor or parent it comes from."""

from __future__ import annotations

import functools
import typing
import warnings
from typing import Any

import pytest
import torch
from jaxtyping import AnnotationError, Float
from torch import Tensor, nn, ones

import tinynets as tn
from tinynets._contract.contract import contract_of
from tinynets._contract.show import show


class Mixin:
    def project(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        return x


class Methods(tn.Module, Mixin):
    heads: int

    def __init__(self, start: Float[Tensor, "heads 4"] | None = None) -> None:
        super().__init__()
        self.heads = 2

    def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        return self.attend(x)

    def attend(self, q: Float[Tensor, "batch 2*heads"]) -> Float[Tensor, "batch 2*heads"]:
        return q

    @torch.no_grad()
    def decorated(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        return x

    @staticmethod
    def static(x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        return x

    @classmethod
    def of_class(cls, x: Float[Tensor, "heads 4"]) -> Float[Tensor, "heads 4"]:
        return x

    def line(self, x: Tensor) -> Tensor:
        y: Float[Tensor, "batch 4"] = x
        return y

    @property
    def weight(self) -> Float[Tensor, "heads 3"]:
        return ones(2, 4)

    @weight.setter
    def weight(self, value: Float[Tensor, "heads 3"]) -> None:
        self.__dict__["held"] = value

    @functools.cached_property
    def cached(self) -> Float[Tensor, "heads 3"]:
        return ones(2, 4)

    @functools.cached_property
    def good(self) -> Float[Tensor, "heads 3"]:
        return ones(2, 3)

    @functools.lru_cache(maxsize=3)  # noqa: B019
    def table(self, size: int) -> Float[Tensor, "heads size"]:
        return ones(2, size) if size < 3 else ones(3, size)

    partial = functools.partialmethod(attend)

    def plain(self, x: int) -> str:
        return str(x)


@pytest.mark.parametrize(
    "name", ["forward", "attend", "decorated", "static", "of_class", "line", "project", "partial"]
)
def test_every_method_with_a_tensor_annotation(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tn.DirectForwardWarning)
        call = getattr(Methods(), name)
        call(ones(2, 4))
        with pytest.raises(tn.ShapeError):
            call(ones(2, 5))


def test_properties_and_caches() -> None:
    net = Methods()
    for name in ("weight", "cached"):
        with pytest.raises(tn.ShapeError, match=rf"Methods.{name} returned axis 1 = 4, expected 3"):
            getattr(net, name)
    with pytest.raises(tn.ShapeError, match="heads = 2"):
        net.weight = ones(3, 3)
    net.weight = ones(2, 3)
    assert net.good is net.good
    assert net.table(2) is net.table(2)
    with pytest.raises(tn.ShapeError):
        net.table(3)


def test_constructors_run_before_there_are_sizes() -> None:
    Methods(ones(9, 4))
    with pytest.raises(tn.ShapeError, match="start"):
        Methods(ones(9, 5))


def test_methods_without_tensors_are_left_as_they_are() -> None:
    assert contract_of(Methods.plain) is None
    assert Methods().plain(typing.cast(int, "3")) == "3"


def test_an_override_inherits_annotations() -> None:
    class Child(Methods):
        def attend(self, q):  # type: ignore[no-untyped-def]
            return q[1:]

        def __init__(self, start: Any) -> None:  # constructors may differ
            super().__init__()

    with pytest.raises(tn.ShapeError, match="Child.attend returned axis 0 = 1, expected batch = 2"):
        Child("start").attend(ones(2, 4))


def test_show_prints_all_of_them() -> None:
    text = show(Methods)
    for name in ("attend", "static", "of_class", "weight", "cached", "table", "project", "decorated", "line"):
        assert f"def {name}(" in text


class TestParentsThatAreNotEnforced:
    class Plain(nn.Module):
        def embed(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
            return self.inner(x)

        def inner(self, x: Tensor) -> Tensor:
            return x

    class PlainChild(Plain):
        def embed(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return super().embed(x) + 1

    def test_their_methods_are_copied_and_they_stay_as_they_were(self) -> None:
        before = self.Plain.embed

        class Child(tn.Module, self.Plain):
            width: int = 4

            def forward(self, x: Tensor) -> Tensor:
                return self.embed(x)

        assert Child().embed(ones(2, 4)).shape == (2, 4)
        for call in (Child(), Child().embed):
            with pytest.raises(tn.ShapeError, match=r"Child.embed\(x\)"):
                call(ones(2, 5))
        assert self.Plain.embed is before
        self.Plain().embed(ones(2, 5))

    def test_a_plain_forward_is_enforced_and_guarded(self) -> None:
        class PlainNet(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.drop = nn.Dropout()

            def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
                return self.drop(x)

        class Net(tn.Module, PlainNet):
            pass

        with pytest.raises(tn.ShapeError):
            Net()(ones(2, 5))
        with pytest.raises(tn.ModeError), torch.inference_mode():
            Net()(ones(2, 4))

    def test_a_copy_hides_no_method_that_comes_before_the_original(self) -> None:
        class Child(tn.Module, self.Plain):
            pass

        class Both(Child, self.PlainChild):
            pass

        class Next(Both):
            pass

        for kind in (Both, Next):
            assert kind().embed(ones(1, 4)).tolist() == [[2, 2, 2, 2]]

    def test_axes_of_a_mixin(self) -> None:
        class Sized:
            width: int

            def widen(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
                return x

        class Net(tn.Module, Sized):
            def __init__(self) -> None:
                super().__init__()
                self.width = 3

        Net().widen(ones(1, 3))
        with pytest.raises(tn.ShapeError, match="expected width = 3"):
            Net().widen(ones(1, 4))


def test_compiled_they_add_no_graph_break_and_no_node() -> None:
    class Net(Methods):
        def forward(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
            return self.static(self.project(self.line(x))) + self.shift[0] + self.of_class(x[:2])[0]

        @property
        def shift(self) -> Float[Tensor, "heads 1"]:
            return ones(2, 1)

    def nodes_of(graph: torch.fx.GraphModule, _: object) -> Any:
        nodes.append(len(graph.graph.nodes))
        return graph.forward

    counts: list[list[int]] = []
    for checked in (False, True):
        torch._dynamo.reset()
        nodes: list[int] = []
        with tn.checks(checked):
            torch.compile(Net(), backend=nodes_of, fullgraph=True)(ones(3, 4))
        counts.append(nodes)
    assert counts[0] == counts[1]
    assert len(counts[0]) == 1


def test_call() -> None:
    class Called(tn.Module):
        def __call__(self, x: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:  # type: ignore[override]
            return x

    assert Called()(ones(2, 4)).shape == (2, 4)
    with pytest.raises(tn.ShapeError):
        Called()(ones(2, 5))


def test_what_cannot_be_enforced_is_refused() -> None:
    with pytest.raises(AnnotationError, match="inner function 'hook' would not be enforced"):

        class Net(tn.Module):
            def watch(self) -> None:
                def hook(*outputs: Float[Tensor, "n"]) -> None:
                    pass

                self.register_forward_hook(hook)

    with pytest.raises(AnnotationError, match="inner function 'hook' would not be enforced"):

        class Other(tn.Module):
            def watch(self) -> None:
                def hook(**outputs: Float[Tensor, "n"]) -> None:
                    pass


def test_contract_over_descriptors() -> None:
    def scale(x: Float[Tensor, "n"], by: float = 1.0) -> Float[Tensor, "n"]:
        return x * by

    class Holder:
        @tn.contract
        @property
        def weight(self) -> Float[Tensor, "2"]:
            return ones(3)

        @property
        @tn.contract
        def under(self) -> Float[Tensor, "2"]:
            return ones(3)

        @tn.contract
        @functools.cached_property
        def cached(self) -> Float[Tensor, "2"]:
            return ones(3)

    for name in ("weight", "under", "cached"):
        with pytest.raises(tn.ShapeError):
            getattr(Holder(), name)
    twice = tn.contract(functools.partial(scale, by=2.0))
    assert twice(ones(2)).tolist() == [2, 2]
    with pytest.raises(tn.ShapeError):
        twice(ones(2, 2))

    @tn.contract
    @functools.lru_cache(maxsize=7)
    def table(size: int) -> Float[Tensor, "2"]:
        return ones(size)

    assert table(2) is table(2)
    assert typing.cast(Any, table).cache_parameters()["maxsize"] == 7
    with pytest.raises(tn.ShapeError):
        table(3)
