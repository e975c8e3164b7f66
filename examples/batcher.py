"""Single images in, batches to the model: whatever waits when the model is free runs together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

import tinynets as tn

LARGE = 16  # images: from here on nearly all of the time is arithmetic, and there is nothing to save
BLOCKING_SECONDS = 0.005  # how long a batch may hold up the event loop: a thread costs each 0.1 ms and more


@dataclass
class Waiting:
    image: Tensor
    answer: asyncio.Future[list[float]]
    since: float


def optimized(model: tn.Module) -> Callable[[Tensor], Tensor]:
    """Return what computes the same bits in less time, or the model where that cannot be had."""
    try:
        return tn.optimize_for_inference(model)
    except (TypeError, ValueError, tn.ContractError):
        return model


class Batcher:
    """Answers single images with a model that runs on batches of them.

    A batch is what has come while the one before it ran, so an image that comes alone does not wait. With
    `max_wait`, a batch that is not full waits that many seconds, counted from its first image, for more.
    The model is put in eval mode, and stays in it.
    """

    def __init__(self, model: tn.Module, *, max_batch: int = 64, max_wait: float = 0) -> None:
        self.model, self.max_batch, self.max_wait = model.eval(), max_batch, max_wait
        self.fast = optimized(self.model)
        self.in_flight = 0
        self.queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self.thread = ThreadPoolExecutor(1, "model")
        self.seconds = float("inf")  # of the last batch

    async def probabilities(self, image: Tensor) -> list[float]:
        """Answer one image, [channels height width]; raises what the contract says about its shape."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(image, loop.create_future(), loop.time())
        self.queue.put_nowait(waiting)
        self.in_flight += 1
        try:
            return await waiting.answer
        finally:
            self.in_flight -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer for as long as the block lasts."""
        with self.thread:
            task = asyncio.create_task(self.run())
            try:
                yield
            finally:
                task.cancel()

    async def run(self) -> None:
        while True:
            batch = [await self.queue.get()]
            if self.max_wait:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(batch[0].since + self.max_wait):
                        while len(batch) < self.max_batch:
                            batch.append(await self.queue.get())
            while len(batch) < self.max_batch and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            for shape in {waiting.image.shape for waiting in batch}:  # some models take images of any size
                await self.answer([waiting for waiting in batch if waiting.image.shape == shape])

    async def answer(self, batch: Sequence[Waiting]) -> None:
        try:
            answers = await self.infer([waiting.image for waiting in batch])
        except Exception as error:  # whatever it was, each must hear of it, and the next batch must run
            if isinstance(error, tn.ContractError) and len(batch) > 1:
                for waiting in batch:  # the text would speak of a batch, which nobody sent
                    await self.answer([waiting])
                return
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)
        await asyncio.sleep(0)  # the event loop writes these answers, and reads what has come

    async def infer(self, images: list[Tensor]) -> list[list[float]]:
        """Run right here what is quickly done, and anything else in a thread, so that the server goes on."""
        if self.seconds < BLOCKING_SECONDS:
            return self.infer_here(images)
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.infer_here, images)

    def infer_here(self, images: list[Tensor]) -> list[list[float]]:
        began = time.perf_counter()
        run = self.fast if len(images) < LARGE else self.model
        with torch.inference_mode():  # where someone puts the model in train mode, it refuses: a ModeError
            answers = run(self.normalized(torch.stack(images))).softmax(dim=1).tolist()
        self.seconds = time.perf_counter() - began
        return answers

    def normalized(self, images: Tensor) -> Tensor:
        """Apply the mean and std that came with the weights, if any did."""
        known = getattr(self.model, "normalization", None)
        if known is None or images.ndim != 4 or images.shape[1] != len(known.mean):
            return images  # for the contract to refuse: by broadcasting, a grey image would become RGB
        mean, std = (rearrange(torch.tensor(numbers), "c -> c 1 1") for numbers in (known.mean, known.std))
        return (images - mean) / std
