"""What waits together and runs together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import tinynets as tn


class AnySize(tn.Module):
    """Takes grey images of any size; the logits are the mean and its opposite."""

    def forward(self, images: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 2"]:
        mean: Float[Tensor, "batch"] = images.mean((1, 2, 3))
        return torch.stack((mean, -mean), dim=1)


class OneOnly(tn.Module):
    """Takes a batch of one image and no other; the logits are the mean and its opposite."""

    def forward(self, images: Float[Tensor, "1 1 height width"]) -> Float[Tensor, "1 2"]:
        mean: Float[Tensor, "1"] = images.mean((1, 2, 3))
        return torch.stack((mean, -mean), dim=1)


def batching(serve: ModuleType, model: tn.Module, work: Callable[..., object], **options: object) -> None:
    """Let `work` use a batcher that runs."""

    async def both() -> None:
        batcher = serve.Batcher(model, **options)
        async with batcher.running(), asyncio.timeout(20):
            await work(batcher)
        assert batcher.in_flight == 0
        assert batcher.queue.empty()

    asyncio.run(both())


@contextmanager
def watched(model: tn.Module) -> Iterator[list[tuple[int, str]]]:
    """Note the size of every batch and the thread that runs it."""
    seen: list[tuple[int, str]] = []
    handle = model.register_forward_pre_hook(
        lambda _, inputs: seen.append((len(inputs[0]), threading.current_thread().name))
    )
    yield seen
    handle.remove()


def halves(images: Sequence[Tensor]) -> list[list[float]]:
    """What `AnySize` and `OneOnly` answer."""
    return [torch.stack((image.mean(), -image.mean())).softmax(0).tolist() for image in images]


def test_a_lone_image_waits_for_nobody(serve: ModuleType) -> None:
    model = AnySize()

    async def work(batcher) -> None:
        for _ in range(50):
            await batcher.probabilities(torch.rand(1, 3, 3))

    with watched(model) as seen:
        batching(serve, model, work)
    assert [size for size, _ in seen] == [1] * 50


def test_what_comes_while_the_model_runs_is_the_next_batch(serve: ModuleType) -> None:
    model = AnySize()
    images = [torch.rand(1, 3, 3) for _ in range(10)]
    running, go_on = threading.Event(), threading.Event()

    def slowly(*_: object) -> None:
        running.set()
        assert go_on.wait(timeout=20)

    async def work(batcher) -> None:
        first = asyncio.create_task(batcher.probabilities(images[0]))
        while not running.is_set():
            await asyncio.sleep(0.001)  # the loop is free, as the model runs in its thread
        others = [asyncio.create_task(batcher.probabilities(image)) for image in images[1:]]
        await asyncio.sleep(0.05)
        assert batcher.in_flight == 10
        go_on.set()
        for found, expected in zip(await asyncio.gather(first, *others), halves(images), strict=True):
            assert found == pytest.approx(expected, abs=1e-6)

    with watched(model) as seen:
        model.register_forward_pre_hook(slowly)
        batching(serve, model, work, max_batch=8)
    assert [size for size, _ in seen] == [1, 8, 1]


@pytest.mark.parametrize(("limit", "second"), [(0.0, "model_0"), (60.0, "MainThread")])
def test_only_what_is_quickly_done_runs_in_the_event_loop(serve, monkeypatch, limit, second) -> None:
    monkeypatch.setattr("batcher.BLOCKING_SECONDS", limit)
    model = AnySize()

    async def work(batcher) -> None:
        for _ in range(3):
            await batcher.probabilities(torch.rand(1, 3, 3))

    with watched(model) as seen:
        batching(serve, model, work)
    assert [thread for _, thread in seen] == ["model_0", second, second], (
        "how long the first takes, nobody knows"
    )


def test_a_batch_that_is_refused_is_asked_image_by_image(serve: ModuleType) -> None:
    model = OneOnly()
    images = [torch.rand(1, 3, 3) for _ in range(5)]

    async def work(batcher) -> None:
        answers = await asyncio.gather(*map(batcher.probabilities, images))
        for found, expected in zip(answers, halves(images), strict=True):
            assert found == pytest.approx(expected, abs=1e-6)

    with watched(model) as seen:
        batching(serve, model, work, max_wait=0.1)
    assert [size for size, _ in seen] == [5, 1, 1, 1, 1, 1]


def test_a_wrong_image_among_right_ones_hears_of_itself_only(serve: ModuleType) -> None:
    right, wrong, wronger = torch.rand(1, 3, 3), torch.rand(3, 3, 3), torch.rand(2, 4, 4)

    async def work(batcher) -> None:
        answers = await asyncio.gather(
            *map(batcher.probabilities, [right, wrong, right, wronger, wrong]), return_exceptions=True
        )
        [expected] = halves([right])
        assert answers[0] == answers[2] == pytest.approx(expected, abs=1e-6)
        texts = [str(answers[index]).splitlines()[:3] for index in (1, 3, 4)]
        assert texts[0] == texts[2]
        assert texts[0][2].split() == ["got", "float32", "[1", "3", "3", "3]"]
        assert texts[1][2].split() == ["got", "float32", "[1", "2", "4", "4]"]

    batching(serve, AnySize(), work, max_wait=0.1)


def test_images_of_several_sizes_wait_together_and_run_apart(serve: ModuleType) -> None:
    async def work(batcher) -> None:
        images = [torch.rand(1, size, size) for size in (3, 5, 7)] * 4
        answers = await asyncio.gather(*map(batcher.probabilities, images))
        for found, expected in zip(answers, halves(images), strict=True):
            assert found == pytest.approx(expected, abs=1e-6)

    model = AnySize()
    with watched(model) as seen:
        batching(serve, model, work, max_wait=0.1)
    assert [size for size, _ in seen] == [4, 4, 4]


@pytest.mark.parametrize(("count", "max_wait", "least", "most"), [(4, 60, 0, 5), (3, 0.2, 0.15, 5)])
def test_with_a_timer_a_batch_waits_until_it_is_full_or_old(serve, count, max_wait, least, most) -> None:
    model = AnySize()

    async def work(batcher) -> None:
        began = time.perf_counter()
        await asyncio.gather(*(batcher.probabilities(torch.rand(1, 3, 3)) for _ in range(count)))
        assert least <= time.perf_counter() - began < most

    with watched(model) as seen:
        batching(serve, model, work, max_batch=4, max_wait=max_wait)
    assert [size for size, _ in seen] == [count]


def test_a_batch_that_fails_takes_nothing_with_it(serve: ModuleType, model: tn.Module) -> None:
    async def work(batcher) -> None:
        image = torch.rand(1, 28, 28)
        expected = await batcher.probabilities(image)

        def broken(*_: object) -> None:
            raise MemoryError("no memory")

        handle = model.register_forward_pre_hook(broken)
        failed = await asyncio.gather(
            *(batcher.probabilities(image) for _ in range(8)), return_exceptions=True
        )
        handle.remove()
        assert [type(error) for error in failed] == [MemoryError] * 8
        assert await batcher.probabilities(image) == pytest.approx(expected, abs=1e-6)

    batching(serve, model, work)


def test_one_who_gives_up_waiting_takes_nothing_with_him(serve: ModuleType, model: tn.Module) -> None:
    async def work(batcher) -> None:
        image = torch.rand(1, 28, 28)
        expected = await batcher.probabilities(image)
        waiting = [asyncio.create_task(batcher.probabilities(image)) for _ in range(3)]
        await asyncio.sleep(0.02)
        waiting[1].cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(answers[1], asyncio.CancelledError)
        assert answers[0] == answers[2] == pytest.approx(expected, abs=1e-6)

    batching(serve, model, work, max_wait=0.1)
