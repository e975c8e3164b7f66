"""Arguments and return values are enforced, and nothing else about a function changes."""

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn, ones

import tinynets as tn


class TestArguments:
    def test_names_are_shared_by_all_arguments(self) -> None:
        @tn.contract
        def add(a: Float[Tensor, "batch width"], b: Float[Tensor, "batch width"]) -> Tensor:
            return a + b

        assert add(ones(2, 3), ones(2, 3)).shape == (2, 3)
        with pytest.raises(tn.ShapeError, match=r"add\(b\): axis 0 is 1, expected batch = 2"):
            add(ones(2, 3), ones(1, 3))

    def test_keywords_defaults_and_keyword_only(self) -> None:
        @tn.contract
        def scale(
            a: Float[Tensor, "n"], *, by: Float[Tensor, "n"] | None = None, factor: float = 2.0
        ) -> Float[Tensor, "n"]:
            return a * factor if by is None else a * by

        assert scale(ones(3)).sum() == 6
        assert scale(a=ones(3), by=ones(3)).sum() == 3
        with pytest.raises(tn.ShapeError, match=r"scale\(by\)"):
            scale(ones(3), by=ones(4))
        with pytest.raises(tn.ContractError, match="got str, expected float"):
            scale(ones(3), factor="2")  # type: ignore[arg-type]

    def test_a_default_of_none_is_accepted(self) -> None:
        @tn.contract
        def f(a: Float[Tensor, "n"] = None) -> int:  # type: ignore[assignment]
            return 0 if a is None else 1

        assert (f(), f(None), f(ones(2))) == (0, 0, 1)
        with pytest.raises(tn.ShapeError):
            f(ones(2, 2))

    def test_every_item_of_star_arguments(self) -> None:
        @tn.contract
        def total(*parts: Float[Tensor, "n"], **named: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            return sum([*parts, *named.values()])  # type: ignore[return-value]

        assert total(ones(2), ones(2), x=ones(2)).sum() == 6
        with pytest.raises(tn.ShapeError, match=r"total\(parts\)\[2\]"):
            total(ones(2), ones(2), ones(3))
        with pytest.raises(tn.ShapeError, match=r"total\(named\)\['x'\]"):
            total(ones(2), x=ones(3))

    def test_an_expression_may_stand_before_its_axis(self) -> None:
        @tn.contract
        def f(a: Float[Tensor, "2*n"], b: Float[Tensor, "n"]) -> Float[Tensor, "n+1"]:
            return ones(len(b) + 1)

        assert f(ones(6), ones(3)).shape == (4,)
        with pytest.raises(tn.ShapeError, match=r"axis 0 is 5, expected 2\*n = 6"):
            f(ones(5), ones(3))

    def test_braces_read_the_argument_as_it_was_passed(self) -> None:
        @tn.contract
        def grow(a: Float[Tensor, "n"], width: int) -> Float[Tensor, "{width}"]:
            wanted = width
            width = 0
            return ones(wanted + width)

        assert grow(ones(2), 5).shape == (5,)

    def test_an_unannotated_function_is_left_alone(self) -> None:
        def f(a):  # type: ignore[no-untyped-def]
            return a

        assert tn.contract(f) is f

    def test_only_functions_can_be_decorated(self) -> None:
        with pytest.raises(TypeError, match="contract decorates functions, methods and classes, got Linear"):
            tn.contract(nn.Linear(2, 2))


def test_everything_else_about_the_function_stays() -> None:
    def f(x: Float[Tensor, "n"], /, y: int = 3, *rest: int, z: float = 1.0) -> Int[Tensor, ""]:
        """Do a thing."""
        return torch.tensor(y)

    f.marker = 1  # type: ignore[attr-defined]
    g = tn.contract(f)
    assert (g.__name__, g.__qualname__, g.__module__, g.__doc__) == (
        f.__name__,
        f.__qualname__,
        __name__,
        f.__doc__,
    )
    assert g.__defaults__ == (3,)
    assert g.__kwdefaults__ == {"z": 1.0}
    assert g.__annotations__ == f.__annotations__
    assert g.marker == 1  # type: ignore[attr-defined]
    assert g.__code__.co_filename == __file__
    assert g.__code__.co_firstlineno <= f.__code__.co_firstlineno + 1
    assert tn.contract(g) is not g
    assert g(ones(1)).item() == 3
