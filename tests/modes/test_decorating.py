"""As a decorator the mode lasts exactly as long as the function itself runs, whatever kind it is."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator

import pytest
import torch
from torch import nn

from tinynets import ModeError
from tinynets.modes import evaluating, inference, training

State = tuple[bool, bool]


@pytest.fixture
def model() -> Iterator[nn.Module]:
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    yield module
    assert state(module) == OUTSIDE


def state(module: nn.Module) -> State:
    assert len({part.training for part in module.modules()}) == 1
    return module.training, torch.is_inference_mode_enabled()


INSIDE: State = (False, True)
OUTSIDE: State = (True, False)


def test_function(model: nn.Module) -> None:
    @inference(model)
    def predict(x: int, *, more: int = 0) -> tuple[State, int]:
        """Say it."""
        return state(model), x + more

    assert predict(1, more=2) == (INSIDE, 3)
    assert predict(1) == (INSIDE, 1)
    assert (predict.__name__, predict.__doc__) == ("predict", "Say it.")
    assert list(inspect.signature(predict).parameters) == ["x", "more"]


def test_recursive_function(model: nn.Module) -> None:
    @inference(model)
    def count(n: int) -> int:
        assert state(model) == INSIDE
        return 0 if n == 0 else 1 + count(n - 1)

    assert count(5) == 5


def test_methods(model: nn.Module) -> None:
    class Server:
        @inference(model)
        def predict(self) -> tuple[object, State]:
            return self, state(model)

        @classmethod
        @inference(model)
        def by_class(cls) -> State:
            return state(model)

        @staticmethod
        @inference(model)
        def by_nothing() -> State:
            return state(model)

    server = Server()
    assert server.predict() == (server, INSIDE)
    assert server.by_class() == server.by_nothing() == INSIDE


@pytest.mark.parametrize("wrong", [classmethod(print), staticmethod(print), nn.Linear, 3])
def test_what_cannot_be_decorated(model: nn.Module, wrong: Callable[..., object]) -> None:
    with pytest.raises(TypeError):
        inference(model)(wrong)


class TestGenerators:
    def test_the_caller_is_outside(self, model: nn.Module) -> None:
        @inference(model)
        def batches() -> Generator[State, int, str]:
            seen = []
            for _ in range(3):
                seen.append((yield state(model)))
                assert state(model) == INSIDE
            return f"sent {seen}"

        running = batches()
        assert inspect.isgenerator(running)
        assert state(model) == OUTSIDE
        assert next(running) == INSIDE
        assert state(model) == OUTSIDE
        assert running.send(1) == INSIDE
        assert state(model) == OUTSIDE
        assert running.send(2) == INSIDE
        with pytest.raises(StopIteration) as stop:
            running.send(3)
        assert stop.value.value == "sent [1, 2, 3]"

    def test_the_caller_may_change_its_own_mode(self, model: nn.Module) -> None:
        @inference(model)
        def batches() -> Iterator[State]:
            while True:
                yield state(model)

        running = batches()
        for _ in range(2):
            with training(model):
                assert next(running) == INSIDE
                assert model.training
                assert torch.is_grad_enabled()

    def test_closed_early(self, model: nn.Module) -> None:
        closed_in = []

        @inference(model)
        def batches() -> Iterator[int]:
            try:
                yield 1
                yield 2
            finally:
                closed_in.append(state(model))

        for _ in batches():
            break
        gc.collect()
        running = batches()
        next(running)
        running.close()
        assert closed_in == [INSIDE, INSIDE]

    def test_a_plain_with_block_in_a_generator_closed_early(self, model: nn.Module) -> None:
        def leaks() -> Iterator[int]:
            with inference(model):
                yield 1

        running = leaks()
        next(running)
        assert state(model) == INSIDE  # what the decorator is for
        running.close()
        assert state(model) == OUTSIDE

    def test_two_plain_generators_interleaved(self, model: nn.Module) -> None:
        def inside() -> Iterator[None]:
            with inference(model):
                yield

        first, second = inside(), inside()
        next(first)
        next(second)
        first.close()
        assert state(model) == INSIDE
        second.close()

    def test_an_exception_thrown_in(self, model: nn.Module) -> None:
        @inference(model)
        def batches() -> Iterator[object]:
            try:
                yield 1
            except ValueError as error:
                yield error, state(model)

        running = batches()
        next(running)
        error = ValueError("x")
        assert running.throw(error) == (error, INSIDE)
        assert state(model) == OUTSIDE
        with pytest.raises(KeyError):
            running.throw(KeyError("not caught"))

    def test_a_block_inside_that_stays_open_over_a_yield(self, model: nn.Module) -> None:
        @evaluating(model)
        def batches() -> Iterator[bool]:
            with training(model):
                yield model.training
                yield model.training
            yield model.training

        assert list(batches())[-1] is False


class TestAsync:
    def test_coroutine(self, model: nn.Module) -> None:
        @inference(model)
        async def predict() -> str:
            assert state(model) == INSIDE
            await asyncio.sleep(0)
            assert state(model) == INSIDE
            return "done"

        async def main() -> str:
            task = asyncio.create_task(predict())
            outside = 0
            while not task.done():
                assert state(model) == OUTSIDE
                outside += 1
                await asyncio.sleep(0)
            assert outside > 1
            return await task

        assert inspect.iscoroutinefunction(predict)
        assert asyncio.run(main()) == "done"

    def test_coroutines_in_two_modes_at_once(self, model: nn.Module) -> None:
        seen: list[State] = []

        @inference(model)
        async def predict() -> None:
            for _ in range(5):
                seen.append(state(model))
                await asyncio.sleep(0)

        @training(model)
        async def train() -> None:
            for _ in range(5):
                assert state(model) == OUTSIDE
                await asyncio.sleep(0)

        async def main() -> None:
            await asyncio.gather(predict(), train(), predict(), train())

        asyncio.run(main())
        assert seen == [INSIDE] * 10

    def test_cancelled_coroutine(self, model: nn.Module) -> None:
        cleaned_in = []

        @inference(model)
        async def predict() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                cleaned_in.append(state(model))

        async def main() -> None:
            task = asyncio.create_task(predict())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert cleaned_in == [INSIDE]

    def test_async_generator(self, model: nn.Module) -> None:
        log: list[object] = []

        @inference(model)
        async def batches() -> AsyncIterator[State]:
            try:
                for _ in range(2):
                    await asyncio.sleep(0)
                    log.append((yield state(model)))
            except ValueError as error:
                yield (str(error), state(model))
            finally:
                await asyncio.sleep(0)
                log.append(state(model))

        async def main() -> None:
            async for seen in batches():
                assert seen == INSIDE
                assert state(model) == OUTSIDE
            running = batches()
            assert await running.__anext__() == INSIDE
            assert await running.asend("sent") == INSIDE
            await running.aclose()
            assert state(model) == OUTSIDE
            running = batches()
            await running.__anext__()
            assert await running.athrow(ValueError("thrown")) == ("thrown", INSIDE)
            assert state(model) == OUTSIDE
            await running.aclose()

        assert inspect.isasyncgenfunction(batches)
        asyncio.run(main())
        assert log == [None, None, INSIDE, "sent", INSIDE, INSIDE]

    def test_tasks_that_hold_a_block_over_an_await_in_two_modes_are_refused(self, model: nn.Module) -> None:
        async def evaluate() -> None:
            with evaluating(model):
                await asyncio.sleep(0.01)

        async def train() -> None:
            await asyncio.sleep(0)
            with training(model):
                pass

        async def main() -> None:
            task = asyncio.create_task(train(), name="train")
            await asyncio.gather(asyncio.create_task(evaluate(), name="evaluate"), task)

        with pytest.raises(ModeError, match="task 'evaluate' is in a block that holds it in eval mode"):
            asyncio.run(main())
