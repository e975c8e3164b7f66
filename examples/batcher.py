"""Batch single images for a model: all images that wait when the model is free run together."""

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

LARGE = 16  # images; from this size on nearly all of the time is arithmetic, and there is nothing to save
BLOCKING_SECONDS = 0.005  # how long a batch may block the event loop: a thread costs it 0.1 ms or more


@dataclass
class Waiting:
    image: Tensor
    answer: asyncio.Future[list[float]]
    since: float


def optimized(model: tn.Module) -> Callable[[Tensor], Tensor]:
    """Return a faster callable with bit-identical results, or the model itself if it cannot be traced."""
    try:
        return tn.optimize_for_inference(model)
    except (TypeError, ValueError, tn.ContractError):
        return model


class Batcher:
    """Answers single images with a model that runs on batches of them.

    A batch has the images that arrived while the previous batch ran, so a single image does not wait. With
    `max_wait`, a batch that is not full waits that many seconds, counted from its first image, for more.
    The model is put in eval mode and stays in it.
    """

    def __init__(self, model: tn.Module, *, max_batch: int = 64, max_wait: float = 0) -> None:
        self.model, self.max_batch, self.max_wait = model.eval(), max_batch, max_wait
        self.fast = optimized(self.model)
        self.in_flight = 0
        self.queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self.thread = ThreadPoolExecutor(1, "model")
        self.seconds = float("inf")  # of the last batch

    async def probabilities(self, image: Tensor) -> list[float]:
        """Return the probabilities for one image, [channels height width]; a wrong shape raises its error."""
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
        """Answer images inside the block."""
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
            for shape in {waiting.image.shape for waiting in batch}:  # some models accept images of any size
                await self.answer([waiting for waiting in batch if waiting.image.shape == shape])

    async def answer(self, batch: Sequence[Waiting]) -> None:
        try:
            answers = await self.infer([waiting.image for waiting in batch])
        except Exception as error:  # every request must get the error, and the next batch must run
            if isinstance(error, tn.ContractError) and len(batch) > 1:
                for waiting in batch:  # the error must be about a single image, not the batch
                    await self.answer([waiting])
                return
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)
        await asyncio.sleep(0)  # lets the event loop write these answers and read new requests

    async def infer(self, images: list[Tensor]) -> list[list[float]]:
        """Run fast batches here, and slow ones in a thread, so that the event loop is not blocked."""
        if self.seconds < BLOCKING_SECONDS:
            return self.infer_here(images)
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.infer_here, images)

    def infer_here(self, images: list[Tensor]) -> list[list[float]]:
        began = time.perf_counter()
        run = self.fast if len(images) < LARGE else self.model
        with torch.inference_mode():  # if the model was put in train mode, it raises ModeError
            answers = run(self.normalized(torch.stack(images))).softmax(dim=1).tolist()
        self.seconds = time.perf_counter() - began
        return answers

    def normalized(self, images: Tensor) -> Tensor:
        """Apply the mean and std that were saved with the weights, if any."""
        known = getattr(self.model, "normalization", None)
        if known is None or images.ndim != 4 or images.shape[1] != len(known.mean):
            return images  # the contract rejects it; broadcasting would turn a grey image into RGB
        mean, std = (rearrange(torch.tensor(numbers), "c -> c 1 1") for numbers in (known.mean, known.std))
        return (images - mean) / std
