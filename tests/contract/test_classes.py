"""Methods of modules: what a class declares, inherits and overrides."""

import warnings
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn, ones

import tinynets as tn


class TestClasses:
    def test_super_forward_and_private_names(self) -> None:
        class Base(tn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.__factor = 2

            def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
                return x * self.__factor

        class Child(Base):
            def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
                return super().forward(x) + 1

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert Child()(ones(2)).tolist() == [3, 3]
        with pytest.raises(tn.ShapeError, match=r"Child\(x\)"):
            Child()(ones(2, 2))

    def test_an_override_without_annotations_inherits_them(self) -> None:
        class Base(tn.Module):
            def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
                return x

        class Child(Base):
            def forward(self, values):  # type: ignore[no-untyped-def]
                return values[1:]

        with pytest.raises(tn.ShapeError, match=r"Child\(values\): 2 axes, expected 1"):
            Child()(ones(2, 2))
        with pytest.raises(tn.ShapeError, match="Child returned axis 0 = 1, expected n = 2"):
            Child()(ones(2))

    def test_nested_modules_have_scopes_of_their_own(self) -> None:
        class Half(tn.Module):
            def forward(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n//2"]:
                return x[:, ::2]

        class Net(tn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.blocks = nn.ModuleList([Half(), Half()])

            def forward(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n//4"]:
                for block in self.blocks:
                    x = block(x)
                return x

        assert Net()(ones(2, 8)).shape == (2, 2)
        with pytest.raises(
            tn.ShapeError, match=r"Half returned at blocks.1|Half at blocks.1 returned"
        ) as caught:
            Net()(ones(2, 6))
        assert caught.value.module_path == "blocks.1"

    def test_module_axes_follow_the_attribute_and_are_inherited(self) -> None:
        class Base(tn.Module):
            width: int

            def __init__(self, width: int) -> None:
                super().__init__()
                self.width = width

        class Net(Base):
            def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n width"]:
                return x[:, None].expand(-1, 3)

        net = Net(3)
        assert net(ones(2)).shape == (2, 3)
        net.width = 4
        with pytest.raises(tn.ShapeError, match="returned axis 1 = 3, expected width = 4"):
            net(ones(2))

    def test_methods_named_forward_something_and_decorated_ones(self) -> None:
        class Net(tn.Module):
            width: int

            def __init__(self) -> None:
                super().__init__()
                self.width = 3

            def forward_features(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
                return x

            @tn.contract
            def pool(self, x: Float[Tensor, "n width"]) -> Float[Tensor, "width"]:
                return x.mean(0)

            @staticmethod
            @tn.contract
            def double(x: Float[Tensor, "n"]) -> Float[Tensor, "2*n"]:
                return torch.cat([x, x])

            @tn.contract
            @classmethod
            def make(cls, x: Float[Tensor, "n"]) -> Any:
                return cls()

            def helper(self, x: Tensor, width: int) -> Tensor:
                return x

        net = Net()
        for method in (net.forward_features, net.pool):
            method(ones(2, 3))
            with pytest.raises(tn.ShapeError, match="expected width = 3"):
                method(ones(2, 4))
        assert Net.double(ones(2)).shape == (4,)
        with pytest.raises(tn.ShapeError):
            Net.double(ones(2, 2))
        assert isinstance(Net.make(ones(2)), Net)
        with pytest.raises(tn.ShapeError):
            Net.make(ones(2, 2))
        net.helper(ones(9), "no tensor annotation, so not checked")  # type: ignore[arg-type]

    def test_self_in_braces(self) -> None:
        class Net(tn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.sizes = {"out": 4}
                self.width = 2

            def forward(self, x: Float[Tensor, "n {self.width}"]) -> Float[Tensor, "2*{self.width}+n"]:
                return ones(2 * self.width + len(x))

        assert Net()(ones(3, 2)).shape == (7,)
        with pytest.raises(tn.ShapeError, match=r"expected \{self.width\} = 2"):
            Net()(ones(3, 3))

    def test_closures_and_recursion(self) -> None:
        def make(size: int) -> type[tn.Module]:
            Sized = Float[Tensor, f"n {size}"]

            class Net(tn.Module):
                def forward(self, x: Sized, depth: int = 2) -> Sized:  # type: ignore[valid-type]
                    y: Sized = x + size  # type: ignore[valid-type]
                    return self(y, depth - 1) if depth else y

            return Net

        assert make(3)()(ones(1, 3)).tolist() == [[10, 10, 10]]
        with pytest.raises(tn.ShapeError):
            make(3)()(ones(1, 4))
