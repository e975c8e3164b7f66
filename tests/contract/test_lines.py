"""Annotated lines are enforced wherever they stand."""

from typing import Any

import pytest
from jaxtyping import Float
from torch import Tensor, ones

import tinynets as tn
from tinynets._contract.runtime import FunctionContract


class TestLines:
    def test_every_annotated_line(self) -> None:
        class Net(tn.Module):
            def forward(self, x: Float[Tensor, "batch 4"], wrong: int = 0) -> Float[Tensor, "batch 4"]:
                first: Float[Tensor, "batch hidden"] = x[:, :3]
                second: Float[Tensor, "batch hidden"] = x[:, : 3 + wrong]
                return x + first.sum() + second.sum()

        net = Net()
        assert net(ones(2, 4)).shape == (2, 4)
        with pytest.raises(tn.ShapeError, match=r"second has axis 1 = 4, expected hidden = 3"):
            net(ones(2, 4), 1)

    def test_a_name_may_be_annotated_again(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "b n"]) -> Tensor:
            y: Float[Tensor, "b n"] = x
            y: Float[Tensor, "n b"] = y.T
            return y

        assert f(ones(2, 3)).shape == (3, 2)

    def test_a_declaration_holds_for_later_assignments(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "b n"], times: int) -> Tensor:
            y: Float[Tensor, "b n"] = x
            for _ in range(times):
                y = y[:, :2]
            return y

        assert f(ones(2, 2), 3).shape == (2, 2)
        assert f(ones(2, 3), 0).shape == (2, 3)
        with pytest.raises(tn.ShapeError, match=r"y has axis 1 = 2, expected n = 3"):
            f(ones(2, 3), 1)

    def test_targets_of_a_tuple_through_a_separate_declaration(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "b n"], bad: bool) -> Tensor:
            left: Float[Tensor, "b half"]
            right: Float[Tensor, "b half"]
            left, right = x.split(1 if bad else x.shape[1] // 2, 1)[:2]
            if bad:
                left, (right, *_rest) = x, [x, x]
                left = left[:, 0]
            return left + right

        assert f(ones(2, 4), False).shape == (2, 2)
        with pytest.raises(tn.ShapeError, match="half = 1"):
            f(ones(2, 4), True)

    def test_arguments_may_be_reassigned_freely(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "b n"]) -> Float[Tensor, "b"]:
            x = x.sum(1)
            return x

        assert f(ones(2, 3)).shape == (2,)

    def test_augmented_assignment_loops_and_with(self) -> None:
        @tn.contract
        def f(items: list[Tensor], kind: str) -> Tensor:
            y: Float[Tensor, "n"] = items[0]
            if kind == "augmented":
                y += 1
                y @= ones(3, 5)
            elif kind == "loop":
                for y in items:  # noqa: B007
                    pass
            return y

        assert f([ones(3)], "").shape == (3,)
        with pytest.raises(tn.ShapeError, match="y has axis 0 = 5, expected n = 3"):
            f([ones(3)], "augmented")
        with pytest.raises(tn.ShapeError, match="y has axis 0 = 4, expected n = 3"):
            f([ones(3), ones(4)], "loop")

    def test_branches_bind_only_where_they_ran(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "b n"], first: bool) -> Float[Tensor, "b width"]:
            if first:
                y: Float[Tensor, "b width"] = x[:, :1]
            return x if not first else x[:, :1] if y.sum() > 0 else x

        assert f(ones(2, 3), False).shape == (2, 3)
        assert f(ones(2, 3), True).shape == (2, 1)
        with pytest.raises(tn.ShapeError, match="returned axis 1 = 3, expected width = 1"):
            f(-ones(2, 3), True)

    def test_an_axis_first_bound_in_a_loop_stays_bound(self) -> None:
        @tn.contract
        def f(items: list[Tensor]) -> None:
            for item in items:
                row: Float[Tensor, "a"] = item

        f([ones(4), ones(4)])
        with pytest.raises(tn.ShapeError, match="row has axis 0 = 5, expected a = 4"):
            f([ones(4), ones(5)])

    def test_a_division_by_zero_fits_no_size(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "a"], y: Float[Tensor, "6//a"]) -> None:
            pass

        f(ones(3), ones(2))
        with pytest.raises(tn.ShapeError, match="axis 0 is 2, expected 6//a = nan"):
            f(ones(0), ones(2))

    def test_dividing_by_a_named_axis_is_accepted_by_its_guard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Net(tn.Module):
            stride: int

            def __init__(self) -> None:
                super().__init__()
                self.stride = 2

            def forward(
                self, x: Float[Tensor, "height width"]
            ) -> Float[Tensor, "height//stride width//stride"]:
                return x[::2, ::2]

        def fail(*_: Any) -> None:
            raise AssertionError("the value was validated")

        monkeypatch.setattr(FunctionContract, "validate", fail)
        assert Net()(ones(4, 6)).shape == (2, 3)

    def test_axes_that_are_named_like_builtins(self) -> None:
        @tn.contract
        def f(
            len: Float[Tensor, "input sum"], input: Float[Tensor, "2*input max(sum,3) {len.ndim}"]
        ) -> Float[Tensor, "input+{len.ndim}+1"]:
            max = None  # the builtin is meant where it is called, whatever the body does with its name
            return ones(len.shape[0] + (3 if max is None else 0))

        assert f(ones(2, 2), ones(4, 3, 2)).shape == (5,)
        for wrong in (ones(5, 3, 2), ones(4, 2, 2), ones(4, 3, 3)):
            with pytest.raises(tn.ShapeError, match=r"f\(input\): axis"):
                f(ones(2, 2), wrong)

    def test_declarations_that_differ_between_branches_end_with_them(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "b n"], flat: bool) -> Tensor:
            if flat:
                y: Float[Tensor, "n"] = x[0]
            else:
                y: Float[Tensor, "b n"] = x
            y = y.reshape(-1, 1, 1)
            return y

        assert f(ones(2, 3), True).shape == (3, 1, 1)
        assert f(ones(2, 3), False).shape == (6, 1, 1)

    def test_plain_types_and_attributes(self) -> None:
        class Net(tn.Module):
            def forward(self, x: Float[Tensor, "n"], bad: bool = False) -> Float[Tensor, "n"]:
                count: int = "3" if bad else 3  # type: ignore[assignment]
                self.last: Float[Tensor, "n"] = x
                self.mean: Float[Tensor, ""] = x.mean()
                return x * count

        net = Net()
        assert net(ones(2)).sum() == 6
        with pytest.raises(tn.ContractError, match="count is str, expected int"):
            net(ones(2), bad=True)

    def test_try_match_while_and_nested_blocks(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"], how: str) -> Float[Tensor, "n"]:
            match how:
                case "match":
                    y: Float[Tensor, "n"] = x[1:]
                case _:
                    pass
            try:
                if how == "raise":
                    raise ValueError(how)
            except ValueError:
                y: Float[Tensor, "n"] = x[1:]
            else:
                z: Float[Tensor, "n"] = x
            finally:
                if how == "finally":
                    w: Float[Tensor, "n"] = x[1:]
            while how == "while":
                v: Float[Tensor, "n"] = x[1:]
            return x

        assert f(ones(3), "").shape == (3,)
        for how, name in {"match": "y", "raise": "y", "finally": "w", "while": "v"}.items():
            with pytest.raises(tn.ShapeError, match=f"{name} has axis 0 = 2"):
                f(ones(3), how)

    def test_the_return_value_of_every_path(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"], how: int) -> Float[Tensor, "n"]:
            if how == 0:
                return x
            if how == 1:
                return x[1:]
            if how == 2:
                return None  # type: ignore[return-value]

        assert f(ones(3), 0).shape == (3,)
        with pytest.raises(tn.ShapeError, match="f returned axis 0 = 2, expected n = 3"):
            f(ones(3), 1)
        for how in (2, 3):
            with pytest.raises(tn.ContractError, match=r"f returned None, expected float \[n\]"):
                f(ones(3), how)
