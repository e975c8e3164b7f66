"""Arguments, return values and annotated lines are enforced, whatever shape the code has."""

import asyncio
import functools
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import torch
from jaxtyping import AnnotationError, Float, Int
from torch import Tensor, nn

import tinynets as tn
from tinynets.contract.runtime import FunctionContract

Images = Float[Tensor, "batch 3 8 8"]


def ones(*shape: int) -> Tensor:
    return torch.ones(*shape)


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
        with pytest.raises(TypeError, match="contract decorates functions and methods, got Linear"):
            tn.contract(nn.Linear(2, 2))


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

    def test_dividing_by_a_named_axis_is_accepted_without_the_judge(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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
            raise AssertionError("the judge was asked")

        monkeypatch.setattr(FunctionContract, "judge", fail)
        assert Net()(ones(4, 6)).shape == (2, 3)

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

            def helper(self, x: Float[Tensor, "n width"]) -> Tensor:
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
        net.helper(ones(9))

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


class TestDecorators:
    def test_the_function_under_a_decorator_is_checked(self) -> None:
        def traced(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                seen.append(torch.is_grad_enabled())
                return function(*args, **kwargs)

            return wrapper

        class Net(tn.Module):
            width: int

            def __init__(self) -> None:
                super().__init__()
                self.width = 3

            @torch.no_grad()
            @traced
            def forward(self, x: Float[Tensor, "n width"], bad: bool = False) -> Float[Tensor, "n"]:
                y: Float[Tensor, "n width"] = x[:, :2] if bad else x
                return y.sum(1)

        seen: list[bool] = []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert Net()(ones(2, 3)).shape == (2,)
        assert seen == [False]
        for arguments in ((ones(2, 4),), (ones(2, 3), True)):
            with pytest.raises(tn.ShapeError, match="expected width = 3"):
                Net()(*arguments)

    def test_contract_under_and_above_a_decorator(self) -> None:
        @torch.no_grad()
        @tn.contract
        def under(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            return x if not torch.is_grad_enabled() else x[1:]

        @tn.contract
        @torch.no_grad()
        def above(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
            return x if not torch.is_grad_enabled() else x[1:]

        class Net(tn.Module):
            @torch.no_grad()
            @tn.contract
            def forward(self, x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
                return x if not torch.is_grad_enabled() else x[1:]

        for function in (under, above, Net()):
            assert function(ones(3)).shape == (3,)
            with pytest.raises(tn.ShapeError):
                function(ones(3, 3))

    def test_a_decorator_that_hides_the_function_is_refused(self) -> None:
        def hides(function: Callable[..., Any]) -> Callable[..., Any]:
            registry = {"function": function}

            def wrapper(*args: Any) -> Any:
                return registry["function"](*args)

            return functools.update_wrapper(wrapper, function)

        with pytest.raises(AnnotationError, match=r"put @tinynets.contract directly above the def"):

            @tn.contract
            @hides
            def f(x: Float[Tensor, "n"]) -> Tensor:
                return x


class TestGeneratorsAndCoroutines:
    def test_every_yield_is_checked(self) -> None:
        @tn.contract
        def halves(x: Float[Tensor, "n"], bad: bool = False) -> Iterator[Float[Tensor, "n//2"]]:
            yield x[::2]
            received = yield x[1:] if bad else x[1::2]
            assert received is None

        assert len(list(halves(ones(4)))) == 2
        generator = halves(ones(4), True)
        next(generator)
        with pytest.raises(tn.ShapeError, match=r"halves yielded axis 0 = 3, expected n//2 = 2"):
            next(generator)
        with pytest.raises(tn.ShapeError):
            next(halves(ones(4, 4)))

    def test_coroutines(self) -> None:
        @tn.contract
        async def work(x: Float[Tensor, "n"], bad: bool = False) -> Float[Tensor, "n"]:
            await asyncio.sleep(0)
            return x[1:] if bad else x

        assert asyncio.run(work(ones(3))).shape == (3,)
        with pytest.raises(tn.ShapeError, match="work returned axis 0 = 2"):
            asyncio.run(work(ones(3), True))

    def test_async_generators_as_forward(self) -> None:
        class Net(tn.Module):
            async def forward(
                self, x: Float[Tensor, "n"], bad: bool = False
            ) -> AsyncIterator[Float[Tensor, "n"]]:
                yield x
                yield x[1:] if bad else x

        async def collect(bad: bool) -> list[Tensor]:
            return [item async for item in Net()(ones(3), bad)]

        assert len(asyncio.run(collect(False))) == 2
        with pytest.raises(tn.ShapeError, match="Net yielded axis 0 = 2"):
            asyncio.run(collect(True))

    def test_what_cannot_be_checked_in_a_generator_is_refused(self) -> None:
        with pytest.raises(AnnotationError, match="write `for item in ...: yield item`"):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Iterator[Float[Tensor, "n"]]:
                yield from [x]

        with pytest.raises(AnnotationError, match="give it a line of its own"):

            @tn.contract
            def g(x: Float[Tensor, "n"]) -> Iterator[Float[Tensor, "n"]]:
                print((yield x))

        with pytest.raises(AnnotationError, match=r"annotate it as Iterator\[...\]"):

            @tn.contract
            def h(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
                yield x


class TestRefusedWhenDefined:
    """What could not be enforced is an error of definition that says what to write instead."""

    def test_names_that_do_not_exist_at_run_time(self) -> None:
        with pytest.raises(
            AnnotationError, match=r"(?s)f, line \d+: .*'Nowhere', which does not exist at run time"
        ):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Tensor:
                y: Nowhere = x  # type: ignore[name-defined]
                return y

    def test_an_alias_inside_the_function(self) -> None:
        with pytest.raises(AnnotationError, match="outside of `if TYPE_CHECKING` and of the function itself"):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Tensor:
                Local = Float[Tensor, "n"]
                y: Local = x  # type: ignore[valid-type]
                return y

    def test_inner_functions_with_tensor_annotations(self) -> None:
        with pytest.raises(AnnotationError, match="inner function 'inner' would not be enforced"):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Tensor:
                def inner(y: Float[Tensor, "n"]) -> Tensor:
                    return y

                return inner(x)

    def test_decorated_inner_functions_are_enforced(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"]) -> Tensor:
            @tn.contract
            def inner(y: Float[Tensor, "m 2"]) -> Tensor:
                return y + x.sum()

            return inner(x)

        with pytest.raises(tn.ShapeError, match=r"inner\(y\): 1 axis, expected 2"):
            f(ones(2))

    def test_hints_that_would_have_to_be_consumed_or_called(self) -> None:
        with pytest.raises(AnnotationError, match=r"write list\[...\] or Sequence\[...\]"):

            @tn.contract
            def f(x: Iterator[Float[Tensor, "n"]]) -> None: ...

    def test_axes_that_nothing_binds(self) -> None:
        with pytest.raises(AnnotationError, match="is computed from 'm', which is no axis of this function"):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Float[Tensor, "2*m"]:
                return x

    def test_walrus_on_a_declared_name(self) -> None:
        with pytest.raises(AnnotationError, match="assigned by `:=`; assign it on its own line"):

            @tn.contract
            def f(x: Float[Tensor, "n"]) -> Tensor:
                y: Float[Tensor, "n"]
                if (y := x[1:]).sum() > 0:
                    return y
                return x

    def test_an_axis_computed_before_it_is_bound_says_so(self) -> None:
        @tn.contract
        def f(x: Float[Tensor, "n"], early: bool) -> Tensor:
            if not early:
                y: Float[Tensor, "m"] = x
                return y
            z: Float[Tensor, "2*m"] = x
            return z

        with pytest.raises(AnnotationError, match=r"'2\*m' is computed from 'm', which no tensor has bound"):
            f(ones(2), True)


class TestWithoutSource:
    def test_arguments_and_return_are_enforced_and_it_warns_once(self) -> None:
        namespace: dict[str, Any] = {"Float": Float, "Tensor": Tensor}
        exec(
            'def f(x: Float[Tensor, "n"], *, bad=False) -> Float[Tensor, "n"]:\n    return x[1:] if bad else x',
            namespace,
        )
        with pytest.warns(
            UserWarning, match="f: no usable source .* annotated lines are not enforced"
        ) as warned:
            f = tn.contract(namespace["f"])
        assert len(warned) == 1
        assert f(ones(2)).shape == (2,)
        with pytest.raises(tn.ShapeError, match=r"f\(x\)"):
            f(ones(2, 2))
        with pytest.raises(tn.ShapeError, match="f returned"):
            f(ones(2), bad=True)

    def test_a_file_edited_after_import_is_not_trusted(self, tmp_path: Any) -> None:
        path = tmp_path / "edited.py"
        before = 'def f(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:\n    return x + 1\n'
        path.write_text(before)
        namespace: dict[str, Any] = {"Float": Float, "Tensor": Tensor}
        exec(compile(before, str(path), "exec"), namespace)
        path.write_text(before.replace("+ 1", "- 1"))
        with pytest.warns(UserWarning, match="changed after it was imported"):
            f = tn.contract(namespace["f"])
        assert f(ones(1)).item() == 2


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
