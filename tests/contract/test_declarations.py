"""How long a declaration holds, and what binds a declared name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from jaxtyping import AnnotationError, Float
from torch import Tensor, no_grad, ones, stack, zeros

import tinynets as tn


class TestBareAnnotations:
    def test_after_the_assignment_it_checks_where_it_stands(self) -> None:
        @tn.contract
        def split(x: Float[Tensor, "n 6"]) -> Tensor:
            q, k, v = x.chunk(3, dim=1)
            q: Float[Tensor, "n 2"]
            k: Float[Tensor, "n 2"]
            v: Float[Tensor, "n 99"]
            return q + k + v

        with pytest.raises(tn.ShapeError, match=r"v has axis 1 = 2, expected 99"):
            split(ones(2, 6))

    def test_for_the_variable_of_a_loop_and_for_an_argument(self) -> None:
        @tn.contract
        def total(xs: Any, y: Any) -> Float[Tensor, ""]:
            total = zeros(())
            for x in xs:
                x: Float[Tensor, "n 3"]
                total = total + x.sum()
            y: Float[Tensor, "m 2"]
            return total + y.sum()

        assert total([ones(2, 3)], ones(1, 2)).item() == 8
        with pytest.raises(tn.ShapeError, match="x has axis 1 = 4, expected 3"):
            total([ones(2, 3), ones(2, 4)], ones(1, 2))
        with pytest.raises(tn.ShapeError, match="y has axis 1 = 3, expected 2"):
            total([ones(2, 3)], ones(1, 3))

    def test_before_the_assignment_it_declares(self) -> None:
        @tn.contract
        def late(x: Float[Tensor, "n"], times: int) -> Tensor:
            for _ in range(times):
                y: Float[Tensor, "n"]
                y = x
                x = stack([x, x])
            return x

        assert late(ones(2), 1).shape == (2, 2)
        with pytest.raises(tn.ShapeError, match="y has 2 axes, expected 1"):
            late(ones(2), 2)

    @pytest.mark.parametrize("how", ["nothing", "if", "try", "match", "walrus", "deleted"])
    def test_where_the_name_has_a_value_on_some_paths(self, how: str) -> None:
        @tn.contract
        def maybe(x: Float[Tensor, "n"], how: str) -> Tensor:
            if how == "if":
                y = x
            try:
                if how == "try":
                    y = x
                    raise ValueError
            except ValueError:
                pass
            match how:
                case "match":
                    y = x
            (how == "walrus") and (y := x)
            if how == "deleted":
                y = x
                del y
            y: Float[Tensor, "n 3"]
            return x

        if how in ("nothing", "deleted"):
            assert maybe(ones(2), how).shape == (2,)
        else:
            with pytest.raises(tn.ShapeError, match="y has 1 axis, expected 2"):
                maybe(ones(2), how)

    def test_a_with_block_may_end_before_its_end(self) -> None:
        @tn.contract
        def halted(x: Float[Tensor, "n"], halt: bool) -> Tensor:
            with suppress(ValueError):
                if halt:
                    raise ValueError
                y = stack([x, x])
            y: Float[Tensor, "n"]
            return x

        assert halted(ones(2), True).shape == (2,)
        with pytest.raises(tn.ShapeError, match="y has 2 axes, expected 1"):
            halted(ones(2), False)

    def test_a_block_that_ends_early_may_have_deleted_the_name(self) -> None:
        @tn.contract
        def deleted(x: Float[Tensor, "n"]) -> Tensor:
            y = z = x
            with suppress(ValueError):
                del y
                raise ValueError
            y: Float[Tensor, "n 3"]
            try:
                del z
                raise ValueError
            except ValueError:
                z: Float[Tensor, "n 3"]
            return x

        assert deleted(ones(2)).shape == (2,)

    def test_a_name_may_be_deleted_anywhere_before(self) -> None:
        @tn.contract
        def between(x: Float[Tensor, "n"]) -> Tensor:
            y = z = x
            with suppress(ValueError):
                del (y, z)
                if len(x):
                    raise ValueError
                y = z = x
            y: Float[Tensor, "n 3"]
            return x

        @tn.contract
        def by_an_earlier_round(x: Float[Tensor, "n"]) -> Tensor:
            y = x
            for _ in range(2):
                y: Float[Tensor, "n"]
                with suppress(NameError):
                    del y
            return x

        @tn.contract
        def by_a_handler(x: Float[Tensor, "n"]) -> Tensor:
            y = x
            try:
                raise ValueError
            except ValueError as error:
                y = error
            error: Float[Tensor, "n"]
            return y if isinstance(y, Tensor) else x

        for function in (between, by_an_earlier_round, by_a_handler):
            assert function(ones(2)).shape == (2,)

    def test_a_name_that_is_deleted_and_given_a_value_again_is_checked(self) -> None:
        @tn.contract
        def again(x: Any) -> Tensor:
            y = x
            del y
            y = x
            y: Float[Tensor, "n"]
            return x

        assert again(ones(2)).shape == (2,)
        with pytest.raises(tn.ShapeError, match="y has 2 axes, expected 1"):
            again(ones(2, 2))

    def test_it_also_declares(self) -> None:
        @tn.contract
        def again(x: Any) -> Tensor:
            x: Float[Tensor, "n"]
            x = stack([x, x])
            return x

        with pytest.raises(tn.ShapeError, match="x has 2 axes, expected 1"):
            again(ones(3))


class TestBlocks:
    def test_a_declaration_inside_with_replaces_the_one_before(self) -> None:
        @tn.contract
        def replaced(x: Float[Tensor, "n"]) -> Tensor:
            y: Float[Tensor, "n"] = x
            with no_grad():
                y: Float[Tensor, "2 n"] = stack([y, y])
            y = x
            return y

        with pytest.raises(tn.ShapeError, match="y has 1 axis, expected 2"):
            replaced(ones(3))

    def test_a_declaration_inside_with_or_try_holds_after_it(self) -> None:
        @tn.contract
        def within(x: Float[Tensor, "n"], how: str) -> Tensor:
            with no_grad():
                y: Float[Tensor, "n"] = x
            try:
                z: Float[Tensor, "n"] = x
                if how == "handler":
                    raise ValueError
            except ValueError:
                z = stack([x, x])
            else:
                e: Float[Tensor, "n"] = x
            finally:
                f: Float[Tensor, "n"] = x
            if how == "with":
                y = stack([y, y])
            if how == "try":
                z = stack([y, y])
            if how == "else":
                e = stack([y, y])
            if how == "finally":
                f = stack([y, y])
            return x

        assert within(ones(2), "").shape == (2,)
        for how, name in {"with": "y", "try": "z", "handler": "z", "finally": "f"}.items():
            with pytest.raises(tn.ShapeError, match=f"{name} has 2 axes, expected 1"):
                within(ones(2), how)
        within(ones(2), "else")  # the handler is a path on which nothing declares it

    def test_a_handler_that_declares_it_differently_ends_it(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"], bad: bool) -> Tensor:
            try:
                y: Float[Tensor, "n"] = x
                if bad:
                    raise ValueError
            except ValueError:
                y: Float[Tensor, "n n"] = stack([x, x])
            y = y[None, None]
            return y

        assert f(ones(2), False).shape == (1, 1, 2)
        assert f(ones(2), True).shape == (1, 1, 2, 2)

    def test_after_branches_that_declare_the_same_thing_it_holds(self) -> None:
        @tn.contract
        def branches(x: Float[Tensor, "n"], how: int, grow: bool) -> Tensor:
            if how == 0:
                y: Float[Tensor, "n"] = x
            elif how == 1:
                y: Float[Tensor, "n"] = -x
            elif how == 2:
                return x
            else:
                y: Float[Tensor, "n"] = x + 1
            match how:
                case 0:
                    z: Float[Tensor, "n"] = x
                case _:
                    z: Float[Tensor, "n"] = -x
            if grow:
                y = stack([y, y])
            else:
                z = stack([z, z])
            return y

        for how in (0, 1, 3):
            with pytest.raises(tn.ShapeError, match="y has 2 axes"):
                branches(ones(2), how, True)
            with pytest.raises(tn.ShapeError, match="z has 2 axes"):
                branches(ones(2), how, False)
        assert branches(ones(2), 2, True).shape == (2,)

    def test_after_a_loop_or_an_if_alone_it_does_not_hold(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"], items: list[Tensor]) -> Tensor:
            for item in items:
                y: Float[Tensor, "m"] = item
            if items:
                y: Float[Tensor, "n"] = x
            y = stack([x, x])
            return y

        assert f(ones(2), []).shape == (2, 2)
        assert f(ones(2), [ones(3)]).shape == (2, 2)


class TestWhatBindsANameToo:
    @pytest.mark.parametrize("how", ["tuple", "star", "mapping", "except", "import", "from", "def", "class"])
    def test_is_checked(self, how: str) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"], pair: Any, how: str) -> Tensor:
            y: Float[Tensor, "n"] = x
            match pair:
                case (y, "tuple"):
                    pass
                case ("star", *y):
                    pass
                case {"mapping": True, **y}:
                    pass
            if how == "except":
                try:
                    raise ValueError
                except ValueError as y:
                    pass
            if how == "import":
                import math as y
            if how == "from":
                from math import pi as y
            if how == "def":

                def y() -> None: ...

            if how == "class":

                class y: ...

            return x

        pairs: dict[str, Any] = {
            "tuple": (ones(2, 2), "tuple"),
            "star": ("star", 1),
            "mapping": {"mapping": True, "more": 1},
        }
        assert f(ones(2), (ones(2), "tuple"), "").shape == (2,)
        with pytest.raises(tn.ContractError, match="y (is|has) "):
            f(ones(2), pairs.get(how), how)

    def test_a_pattern_that_binds_it_and_then_may_not_fit_is_refused(self) -> None:
        with pytest.raises(AnnotationError, match="y is declared and bound by a pattern with an `if`"):

            @tn.contract
            def f(x: Float[Tensor, "n"], pair: Any) -> Tensor:
                y: Float[Tensor, "n"] = x
                match pair:
                    case (z, y) if z:
                        return z
                return y

    def test_an_item_of_a_declared_container(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"], how: str) -> Tensor:
            parts: list[Float[Tensor, "n"]] = [x, x]
            named: dict[str, Float[Tensor, "n"]] = {}
            wide, key = stack([x, x]), 7 if how == "key" else "b"
            parts[0] = wide if how == "item" else x
            parts[1:] = [wide] if how == "slice" else [x]
            parts[0], x = wide if how == "tuple" else x, x
            parts[1] += 1
            named["a"] = wide if how == "value" else x
            named[key] = x
            for parts[0] in [wide] if how == "loop" else []:
                pass
            return parts[0]

        assert f(ones(2), "").shape == (2,)
        for how, name in {
            "item": r"parts\[0\]",
            "slice": r"parts\[1\]",
            "tuple": r"parts\[0\]",
            "value": r"named\['a'\]",
            "key": "named key 7",
            "loop": r"parts\[0\]",
        }.items():
            with pytest.raises(tn.ContractError, match=f"{name} (is|has) "):
                f(ones(2), how)

    def test_a_wrong_item_is_not_stored(self) -> None:
        parts: list[Tensor] = [ones(2)]

        @tn.contract
        def f(given: Any, x: Float[Tensor, "n m"]) -> None:
            held: list[Float[Tensor, "m"]] = given
            held[0] = x

        with pytest.raises(tn.ShapeError):
            f(parts, ones(3, 2))
        assert parts[0].shape == (2,)

    def test_a_target_is_evaluated_once(self) -> None:
        @tn.contract
        def store(x: Float[Tensor, "n"]) -> list[int]:
            keys = iter([1, 2, 3])
            table: dict[int, Any] = {}
            table[next(keys)]: Float[Tensor, "n"] = x
            return list(table)

        assert store(ones(2)) == [1]
