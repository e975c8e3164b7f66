"""Functions under decorators, generators and coroutines are enforced inside."""

import asyncio
import functools
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import torch
from jaxtyping import AnnotationError, Float
from torch import Tensor, ones

import tinynets as tn


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

    @pytest.mark.parametrize("first", [True, False])
    def test_of_two_classes_of_one_name_each_has_its_own_methods(self, first: bool) -> None:
        def keeps(function: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any) -> Any:
                return function(*args)

            return wrapper

        if first:

            class Net(tn.Module):
                @keeps
                def forward(self, x: Float[Tensor, "batch 3"]) -> Tensor:
                    return x
        else:

            class Net(tn.Module):
                @keeps
                def forward(self, x: Float[Tensor, "batch 5"]) -> Tensor:
                    return x

        Net()(ones(2, 3 if first else 5))
        with pytest.raises(tn.ShapeError, match=f"expected {3 if first else 5}"):
            Net()(ones(2, 4))

    def test_what_dispatches_on_a_type_calls_checked_functions(self) -> None:
        class Net(tn.Module):
            @functools.singledispatchmethod
            def forward(self, x: Float[Tensor, "batch 3"]) -> Tensor:
                return x

            @forward.register
            def _(self, x: list) -> Float[Tensor, "batch 3"]:
                return torch.tensor(x)

        class Child(Net):
            pass

        for net in (Net(), Child()):
            assert net(ones(2, 3)).shape == net([[1.0, 2.0, 3.0]] * 2).shape == (2, 3)
            for wrong in (ones(2, 4), [[1.0, 2.0]]):
                with pytest.raises(tn.ShapeError, match="expected 3"):
                    net(wrong)


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
