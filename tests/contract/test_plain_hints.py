"""Hints without tensors are checked as beartype does, or left alone and listed; none is refused."""

from __future__ import annotations

import importlib.util
import typing
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypedDict, TypeVar, Unpack

import pytest
import torch
from jaxtyping import AnnotationError, Float, Int
from torch import Tensor, nn, ones

import tinynets as tn
from tinynets._contract.show import show

if TYPE_CHECKING:
    import queue as only_a_module
    from collections import OrderedDict as OnlyForCheckers

    from jaxtyping import Float16 as Half
    from not_installed import Nothing

Bound = TypeVar("Bound", bound="Float[Tensor, 'n']")


class Related(tn.Module):
    def forward(self, x: Float[Tensor, "n"], other: Related | None = None) -> Float[Tensor, "n"]:
        return x

    def forward_self(self, x: Float[Tensor, "n"]) -> Self:
        return self

    def forward_own(self, x: Float[Tensor, "n"], give: Any = None) -> Related:
        return give or self

    def forward_later(
        self, x: Float[Tensor, "n"], later: list[Later[int]] | Later.Inner
    ) -> Float[Tensor, "n"]:
        return x

    def forward_never(self, x: Float[Tensor, "n"]) -> NoReturn:
        raise RuntimeError("never")

    def forward_checkers(
        self,
        x: Float[Tensor, "n"],
        hidden: OnlyForCheckers | None = None,
        q: only_a_module.Queue | None = None,
    ) -> Half[Tensor, "n"]:
        return x.half()

    def forward_nothing(self, x: Float[Tensor, "n"], nothing: Nothing) -> Float[Tensor, "n"]:
        return x

    def forward_guard(self, x: Float[Tensor, "n"]) -> typing.TypeGuard[int]:
        return True


T = TypeVar("T")


class Later(Generic[T]):
    class Inner:
        pass


def test_hints_that_cannot_be_checked_leave_the_tensors_checked() -> None:
    model, x = Related(), ones(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.forward_self(x) is model
        assert model.forward_guard(x)
        with pytest.raises(RuntimeError, match="never"):
            model.forward_never(x)
    with pytest.warns(UserWarning, match="Nothing is imported for type checkers only, so what is annotated"):
        model.forward_nothing(x, "anything")  # type: ignore[arg-type]
    for call in (model.forward_self, model.forward_own, model.forward_never, model.forward_guard):
        with pytest.raises(tn.ShapeError):
            call(ones(2, 2))


def test_show_lists_them() -> None:
    text = show(Related)
    assert "# not checked: return: Self" in text
    assert "# not checked: return: NoReturn" in text
    assert "# not checked: nothing: Nothing" in text
    assert "# not checked: later" not in text
    assert "# not checked: return: TypeGuard[int]" in text


def test_the_own_class_and_later_ones_are_checked() -> None:
    model, x = Related(), ones(2)
    model(x, model)
    with pytest.raises(tn.ContractError, match=r"Related\(other\): got 3, expected None or Related"):
        model(x, 3)  # type: ignore[arg-type]
    with pytest.raises(tn.ContractError, match="expected Related"):
        model.forward_own(x, "x")
    model.forward_later(x, [Later()])
    model.forward_later(x, Later.Inner())
    for wrong in ("later", ["later"]):
        with pytest.raises(tn.ContractError, match=r"Related.forward_later\(later\)"):
            model.forward_later(x, wrong)  # type: ignore[arg-type]


def test_names_for_type_checkers_are_found_where_their_module_is_loaded() -> None:
    model, x = Related(), ones(2)
    model.forward_checkers(x)
    with pytest.raises(tn.ContractError, match="hidden"):
        model.forward_checkers(x, 3)  # type: ignore[arg-type]
    with pytest.raises(tn.ShapeError):
        model.forward_checkers(ones(2, 2))

    class Net(tn.Module):
        def forward(self, x: Float[Tensor, "n"]) -> Half[Tensor, "n"]:
            return x

    with pytest.raises(tn.DtypeError, match="expected float16"):
        Net()(x)


LATER = """
from __future__ import annotations
import tinynets as tn
from jaxtyping import Float
from torch import Tensor

@tn.contract
def f(x: Float[Tensor, "n"], {}) -> None: ...

Images = Float[Tensor, "n 3"]
Plain = list[int]
"""


def load(text: str, tmp_path: Path) -> ModuleType:
    path = tmp_path / "later.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("later", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_later_alias_of_tensors_is_refused_and_of_ints_checked(tmp_path: Path) -> None:
    f = load(LATER.format("y: Plain"), tmp_path).f
    f(ones(2), [1])
    with pytest.raises(tn.ContractError):
        f(ones(2), ["1"])
    f = load(LATER.format("y: Images"), tmp_path).f
    with pytest.raises(
        AnnotationError, match="Images holds tensors, so it must exist when the function is def"
    ):
        f(ones(2), ones(2, 3))
    with pytest.raises(AnnotationError, match="Flaot.*does not exist at run time"):
        load(LATER.format("y: Flaot[Tensor, 'n']"), tmp_path)
    with pytest.raises(AnnotationError, match="Images does not exist yet; define or import it before"):
        load(LATER.format("y: Images[Tensor, 'n']"), tmp_path)


def test_compiled_code_takes_them_on_trust_without_a_graph_break() -> None:
    model = Related()
    compiled = torch.compile(model.forward_later, backend="eager", fullgraph=True)
    assert compiled(ones(2), [Later()]).shape == (2,)


def test_quoted_hints_inside_hints() -> None:
    @tn.contract
    def first(xs: list["Float[Tensor, 'n 3']"], y: "tuple['Int[Tensor, \"m\"]', ...] | None" = None) -> Any:
        return xs[0]

    first([ones(1, 3)], (ones(2).long(),))
    with pytest.raises(tn.ShapeError):
        first([ones(1, 3), ones(1, 4)])
    with pytest.raises(tn.ContractError):
        first([], (ones(2),))

    @tn.contract
    def bound(x: Bound, y: "dict[str, int]" | None = None) -> Bound:
        return x

    bound(ones(2), {"a": 1})
    with pytest.raises(tn.ShapeError):
        bound(ones(2, 2))
    with pytest.raises(tn.ContractError):
        bound(ones(2), {"a": "b"})  # type: ignore[dict-item]


def test_a_callable_of_tensors_is_a_callable_and_listed() -> None:
    @tn.contract
    def apply(
        f: Callable[[Float[Tensor, "n"]], Float[Tensor, "n"]], x: Float[Tensor, "n"]
    ) -> Float[Tensor, "n"]:
        return f(x)

    assert apply(torch.relu, ones(2)).shape == (2,)
    assert apply(nn.Identity(), ones(2)).shape == (2,)
    with pytest.raises(tn.ContractError, match=r"apply\(f\): got 3, expected Callable"):
        apply(3, ones(2))  # type: ignore[arg-type]
    assert "# not checked: f: Callable[[Float[Tensor, 'n']], Float[Tensor, 'n']]" in show(apply)


def test_float_accepts_an_int_and_complex_both() -> None:
    @tn.contract
    def scale(
        x: Float[Tensor, "n"], by: float, more: list[float] | None = None, z: complex = 0
    ) -> Float[Tensor, "n"]:
        return x * by

    assert scale(ones(2), 2, [1, 2.0], 1.0).tolist() == [2, 2]
    for arguments in (("2",), (2, ["1"]), (2, [1], "z")):
        with pytest.raises(tn.ContractError):
            scale(ones(2), *arguments)  # type: ignore[arg-type]


class Options(TypedDict, total=False):
    scale: float
    bias: Float[Tensor, "n"]


def test_unpacked_keywords_and_tuples() -> None:
    @tn.contract
    def shifted(x: Float[Tensor, "n"], **options: Unpack[Options]) -> Float[Tensor, "n"]:
        return x + options.get("bias", 0.0)

    assert shifted(ones(2), scale=1.0).shape == (2,)
    assert shifted(ones(2), bias=ones(2)).shape == (2,)
    with pytest.raises(tn.ShapeError, match=r"shifted\(options\)\['bias'\]"):
        shifted(ones(2), bias=ones(3))

    @tn.contract
    def both(*pair: *tuple[Float[Tensor, "n"], Float[Tensor, "n"]]) -> Float[Tensor, "n"]:
        return pair[0] + pair[1]

    @tn.contract
    def unpacked(*pair: Unpack[tuple[Float[Tensor, "n"], Float[Tensor, "n"]]]) -> Float[Tensor, "n"]:  # noqa: UP044
        return pair[0] + pair[1]

    for function in (both, unpacked):
        assert function(ones(2), ones(2)).shape == (2,)
        with pytest.raises(tn.ShapeError):
            function(ones(2), ones(1))
        with pytest.raises(tn.ContractError, match=r"tuple of 3 \(float32 .*\), expected tuple of 2"):
            function(ones(2), ones(2), ones(2))  # type: ignore[call-arg]

    with pytest.raises(AnnotationError, match="cannot be enforced"):

        @tn.contract
        def inside(x: tuple[int, *tuple[Float[Tensor, "n"], ...]]) -> None: ...
