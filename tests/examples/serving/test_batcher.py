"""What waits together and runs together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
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


def batching(serve: ModuleType, model: tn.Module, work: Callable[..., object], **options: object) -> None:
    """Let `work` use a batcher that runs."""

    async def both() -> None:
        batcher = serve.Batcher(model, **{"max_batch": 64, "max_wait": 0.002, **options})
        task = asyncio.create_task(batcher.run())
        try:
            async with asyncio.timeout(20):
                await work(batcher)
            assert not task.done()
            assert batcher.in_flight == 0
        finally:
            task.cancel()
            batcher.thread.shutdown()

    asyncio.run(both())


def test_images_of_several_sizes_wait_together_and_run_apart(serve: ModuleType) -> None:
    async def work(batcher) -> None:
        images = [torch.rand(1, size, size) for size in (3, 5, 7)] * 4
        for _ in range(2):  # the first of a shape goes alone
            answers = await asyncio.gather(*map(batcher.probabilities, images))
        for image, answer in zip(images, answers, strict=True):
            mean = image.mean()
            assert answer == pytest.approx(torch.stack((mean, -mean)).softmax(0).tolist(), abs=1e-6)

    batching(serve, AnySize(), work)


@pytest.mark.parametrize(("count", "max_wait", "least", "most"), [(4, 60, 0, 5), (3, 0.2, 0.15, 5)])
def test_a_batch_waits_until_it_is_full_or_old(serve, model, count, max_wait, least, most) -> None:
    sizes: list[int] = []

    async def work(batcher) -> None:
        await batcher.probabilities(torch.rand(1, 28, 28))
        handle = model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
        began = time.perf_counter()
        await asyncio.gather(*(batcher.probabilities(torch.rand(1, 28, 28)) for _ in range(count)))
        assert least <= time.perf_counter() - began < most
        handle.remove()

    batching(serve, model, work, max_batch=4, max_wait=max_wait)
    assert sizes == [count]


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
