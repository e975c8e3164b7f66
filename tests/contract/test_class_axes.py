"""Axes that a class declares, and methods whose `self` is not where one expects it."""

import typing
import warnings
from typing import Annotated, Any, ClassVar, Final

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, ones

import tinynets as tn
from tinynets._contract.annotations.class_scope import declared_axes


class Declared(tn.Module):
    final: Final[int]
    bare: Final = 8
    shared: ClassVar[int] = 3
    maybe: int | None
    quoted: "int | None"
    noted: Annotated[int, "a note"]
    text: Final[str] = "x"
    either: int | str

    def __init__(self, maybe: int | None = None) -> None:
        super().__init__()
        self.final = 2  # type: ignore[misc]
        self.maybe = self.quoted = maybe
        self.noted = 5
        self.inside: int = 6
        self.optional: int | None = maybe

    def forward(self, which: str, x: Tensor) -> Tensor:
        return getattr(self, f"forward_{which}")(x)

    def forward_final(self, x: Float[Tensor, "final"]) -> Float[Tensor, "final"]:
        return x

    def forward_bare(self, x: Float[Tensor, "bare"]) -> Float[Tensor, "bare"]:
        return x

    def forward_shared(self, x: Float[Tensor, "shared"]) -> Float[Tensor, "shared"]:
        return x

    def forward_maybe(self, x: Float[Tensor, "maybe"]) -> Float[Tensor, "maybe"]:
        return x

    def forward_quoted(self, x: Float[Tensor, "1+quoted"]) -> Tensor:
        y: Float[Tensor, "quoted"] = x[1:]
        return y

    def forward_noted(self, x: Float[Tensor, "noted"]) -> Float[Tensor, "noted"]:
        return x

    def forward_inside(self, x: Float[Tensor, "inside"]) -> Float[Tensor, "inside"]:
        return x

    def forward_optional(self, x: Float[Tensor, "optional"], other: Float[Tensor, "optional"]) -> None: ...

    def forward_line(self, x: Tensor) -> Tensor:
        y: Float[Tensor, "n maybe"] = x
        return y


SIZES = {"final": 2, "bare": 8, "shared": 3, "maybe": 4, "noted": 5, "inside": 6}


@pytest.mark.parametrize("which", SIZES)
def test_axes_are_declared_in_many_ways(which: str) -> None:
    model = Declared(4)
    model(which, ones(SIZES[which]))
    with pytest.raises(tn.ShapeError, match=rf"expected {which} = {SIZES[which]}"):
        model(which, ones(SIZES[which] + 1))


def test_children_inherit_and_change_them() -> None:
    class Child(Declared):
        maybe: int  # type: ignore[assignment]

        def forward_maybe(self, x: Float[Tensor, "maybe 2*inside"]) -> None: ...  # type: ignore[override]

    Child(4).forward_maybe(ones(4, 12))
    with pytest.raises(tn.ShapeError):
        Child(4).forward_maybe(ones(4, 11))


def test_an_axis_that_may_be_none() -> None:
    free, bound = Declared(), Declared(4)
    free("maybe", ones(9))
    free.forward_line(ones(3, 7))
    free.forward_optional(ones(5), ones(5))
    with pytest.raises(tn.ShapeError, match="is 6, expected optional = 5") as caught:
        free.forward_optional(ones(5), ones(6))
    assert "optional=5 comes from x" in str(caught.value)
    with pytest.raises(tn.ShapeError, match="has axis 1 = 7, expected maybe = 4") as caught:
        bound.forward_line(ones(3, 7))
    assert "maybe=4 comes from Declared(maybe=4)" in str(caught.value)
    bound.maybe = 7
    bound.forward_line(ones(3, 7))
    bound.forward_quoted(ones(5))
    with pytest.raises(tn.ShapeError):
        bound.forward_quoted(ones(6))
    assert declared_axes(bound) == SIZES | {"maybe": 7, "quoted": 4, "optional": 4}
    assert declared_axes(free) == {name: size for name, size in SIZES.items() if name != "maybe"}


@pytest.mark.slow
def test_an_axis_that_may_be_none_under_compile() -> None:
    for model, size in ((Declared(), 9), (Declared(4), 4)):
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert compiled("maybe", ones(size)).shape == (size,)
    compiled = torch.compile(Declared(4), backend="eager")
    with pytest.raises(tn.ShapeError, match="expected maybe = 4"):
        compiled("maybe", ones(5))


def test_names_of_other_types_are_free() -> None:
    class Net(Declared):
        def forward_free(self, x: Float[Tensor, "text either"]) -> Float[Tensor, "text either"]:
            return x

    Net().forward_free(ones(3, 4))


class Sized(tn.Module):
    width: int

    def __init__(self) -> None:
        super().__init__()
        self.width = 3


def test_self_is_bound_anew() -> None:
    class Net(Sized):
        def forward(self, x: Float[Tensor, "n width"], y: Any = None) -> Float[Tensor, "n {self.width}"]:
            for self in [None]:  # noqa: B007
                pass
            return x if y is None else y

        def forward_inner(self, x: Float[Tensor, "n width"], y: Any) -> Float[Tensor, "n width"]:
            def forget() -> None:
                nonlocal self
                self = None

            forget()
            return y

        def forward_deleted(self, x: Float[Tensor, "n width"], y: Any) -> Float[Tensor, "n width"]:
            del self
            return y

    net = Net()
    assert net(ones(2, 3)).shape == (2, 3)
    for call in (net, net.forward_inner, net.forward_deleted):
        assert call(ones(2, 3), ones(2, 3)).shape == (2, 3)
        with pytest.raises(tn.ShapeError, match=r"returned axis 1 = 4, expected"):
            call(ones(2, 3), ones(2, 4))
        with pytest.raises(tn.ShapeError, match=r"\(x\)"):
            call(ones(2, 4), ones(2, 3))


def test_self_in_args() -> None:
    class Net(Sized):
        def forward(*args: Any, x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
            self, *rest = args
            assert isinstance(self, Net)
            return rest[0] if rest else x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Net()(x=ones(2, 3)).shape == (2, 3)
    with pytest.raises(tn.ShapeError, match=r"Net\(x\): axis 1 is 4, expected width = 3"):
        Net()(x=ones(2, 4))
    with pytest.raises(tn.ShapeError, match="Net returned"):
        Net()(ones(2, 4), x=ones(2, 3))


def test_private_argument_names() -> None:
    class Private(tn.Module):
        def forward(self, __x: Float[Tensor, "n 3"], *__xs: Float[Tensor, "n"], __n: int = 1) -> Tensor:
            return __x * __n

    assert Private()(ones(1, 3), ones(1)).shape == (1, 3)
    with pytest.raises(tn.ShapeError, match=r"Private\(__x\)"):
        Private()(ones(1, 4))
    with pytest.raises(tn.ShapeError, match=r"Private\(__xs\)"):
        Private()(ones(1, 3), ones(2))


def test_a_body_of_a_docstring_or_of_nothing() -> None:
    class Empty(tn.Module):
        def forward(self, x: Float[Tensor, "n 3"]) -> None:
            """Do nothing."""

        def forward_other(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
            """Do nothing, wrongly."""

    assert Empty()(ones(1, 3)) is None
    with pytest.raises(tn.ShapeError):
        Empty()(ones(1, 4))
    with pytest.raises(tn.ContractError, match="returned None"):
        Empty().forward_other(ones(1, 3))


def test_a_class_made_by_type() -> None:
    class Base(tn.Module):
        def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            return x + 1

    class Child(Base):
        def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            assert isinstance(self, __class__)  # type: ignore[name-defined]
            return super().forward(x) * 2

    def forward(self: Any, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        return Base.forward(self, x) * 3

    made = typing.cast(Any, type("Made", (Base,), {"forward": forward}))
    copied = typing.cast(Any, type("Copied", (Child,), {"forward": Child.forward}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made()(ones(1)).tolist() == [6]
        assert copied()(ones(1)).tolist() == [4]
    late = make_late(Base)
    assert late()(ones(1)).tolist() == [8]
    for kind in (made, copied, late):
        with pytest.raises(tn.ShapeError):
            kind()(ones(1, 1))


def make_late(base: Any) -> Any:
    def forward(self: Any, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        assert __class__ is type(self)
        return super().forward(x) * 4  # type: ignore[misc]

    forward.__qualname__ = "Late.forward"
    __class__ = type("Late", (base,), {"forward": forward, "__module__": __name__})
    return __class__
