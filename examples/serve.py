"""Serve a model over HTTP: an image in, as PNG or JSON, probabilities out; requests share batches."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

try:
    import torch
    import uvicorn
    from einops import rearrange
    from fastapi import FastAPI, HTTPException, Request
    from images import ImageError, read_json, read_png
    from pydantic import BaseModel
    from starlette.requests import ClientDisconnect
    from torch import Tensor

    import tinynets as tn
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[serve]'") from None

MAX_BODY = 256 * 1024  # bytes
MAX_CONNECTIONS = 512  # more get a 503; with MAX_BODY it bounds the memory
READERS = {"image/png": read_png, "application/json": read_json}
BODY_SECONDS = 10  # for the whole body to arrive


class Prediction(BaseModel):
    label: int
    probabilities: list[float]


@dataclass
class Waiting:
    image: Tensor
    answer: asyncio.Future[list[float]]
    since: float


class Batcher:
    """Answers single images with a model that runs on batches of them, in a thread of its own."""

    def __init__(self, model: tn.Module, *, max_batch: int, max_wait: float) -> None:
        self.model, self.max_batch, self.max_wait = model, max_batch, max_wait
        self.in_flight = 0
        self.accepted: set[torch.Size] = set()
        self.queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self.thread = ThreadPoolExecutor(1, "model")

    async def probabilities(self, image: Tensor) -> list[float]:
        """Answer one image, [channels height width]; raises what the contract says about its shape."""
        self.in_flight += 1
        try:
            if image.shape not in self.accepted:  # alone, so that a refusal reaches nobody else
                [answer] = await self.infer([image])
                self.accepted.add(image.shape)
                return answer
            loop = asyncio.get_running_loop()
            waiting = Waiting(image, loop.create_future(), loop.time())
            self.queue.put_nowait(waiting)
            return await waiting.answer
        finally:
            self.in_flight -= 1

    async def run(self) -> None:
        """Take what waits, until the batch is full or its first image has waited long enough; for ever."""
        while True:
            batch = [await self.queue.get()]
            with suppress(TimeoutError):
                async with asyncio.timeout_at(batch[0].since + self.max_wait):
                    while len(batch) < self.max_batch:
                        batch.append(await self.queue.get())
            for shape in {waiting.image.shape for waiting in batch}:  # some models take images of any size
                await self.answer([waiting for waiting in batch if waiting.image.shape == shape])

    async def answer(self, batch: Sequence[Waiting]) -> None:
        try:
            answers = await self.infer([waiting.image for waiting in batch])
        except Exception as error:  # whatever it was, each must hear of it, and the next batch must run
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)

    async def infer(self, images: list[Tensor]) -> list[list[float]]:
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.infer_here, images)

    def infer_here(self, images: list[Tensor]) -> list[list[float]]:
        with tn.inference(self.model):  # for this batch only: between batches the model is whoever else's
            return self.model(self.normalized(torch.stack(images))).softmax(dim=1).tolist()

    def normalized(self, images: Tensor) -> Tensor:
        """Apply the mean and std that came with the weights, if any did."""
        known = getattr(self.model, "normalization", None)
        if known is None or images.ndim != 4 or images.shape[1] != len(known.mean):
            return images  # for the contract to refuse: by broadcasting, a grey image would become RGB
        mean, std = (rearrange(torch.tensor(numbers), "c -> c 1 1") for numbers in (known.mean, known.std))
        return (images - mean) / std


async def read_body(request: Request) -> bytes:
    """Collect the body, but no more than `MAX_BODY`, whatever the client declares or sends."""
    closing = {"Connection": "close"}  # else the rest would be read and thrown away, for as long as it comes
    too_large = HTTPException(413, f"the body may have {MAX_BODY:,} bytes", closing)
    if int(request.headers.get("content-length", 0)) > MAX_BODY:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise too_large
    except TimeoutError:
        raise HTTPException(408, f"the body took over {BODY_SECONDS} s", closing) from None
    except ClientDisconnect:
        raise HTTPException(400, "the client left before the body was whole") from None
    return bytes(body)


def application(model: tn.Module, *, max_batch: int = 64, max_wait: float = 0.002) -> FastAPI:
    """Build the application; `max_wait` is how many seconds an image may wait for others."""
    batcher = Batcher(model, max_batch=max_batch, max_wait=max_wait)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(batcher.run())
        yield  # the server leaves only after the last answer
        running.cancel()
        batcher.thread.shutdown()

    app = FastAPI(title="tinynets", lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> dict[str, str | int]:
        return {"status": "ok", "model": type(model).__name__, "in_flight": batcher.in_flight}

    @app.post("/predict")
    async def predict(request: Request) -> Prediction:
        media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if media_type not in READERS:
            raise HTTPException(415, f"the content type must be one of {', '.join(READERS)}")
        body = await read_body(request)
        try:
            probabilities = await batcher.probabilities(READERS[media_type](body))
        except (ImageError, tn.ShapeError) as error:
            raise HTTPException(422, str(error)) from None
        return Prediction(label=probabilities.index(max(probabilities)), probabilities=probabilities)

    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until SIGTERM or Ctrl-C, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="of model.save; default: train a small one"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="0 picks a free one; default: %(default)s")
    parser.add_argument("--max-batch", type=int, default=64, help="images in a batch; default: %(default)s")
    parser.add_argument(
        "--max-wait", type=float, default=0.002, help="seconds to fill it; default: %(default)s"
    )
    options = parser.parse_args(arguments)
    if options.max_batch < 1 or not 0 <= options.max_wait <= 60 or not 0 <= options.port < 2**16:
        parser.error("--max-batch must be at least 1, --max-wait in [0, 60] and --port in [0, 65535]")
    if options.model is None:
        from train_digits import main as train

        options.model = Path("runs/serve/weights.safetensors")
        print(f"No --model FILE: training a small one in {options.model.parent}, for seconds.", flush=True)
        if code := train(["--epochs", "3", "--out", str(options.model.parent)]):
            return code
    try:
        model = tn.load(options.model)
    except (tn.CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    # uvicorn answers what it has accepted, then raises the signal again: for the handler of before, this one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    app = application(model, max_batch=options.max_batch, max_wait=options.max_wait)
    limits = {"access_log": False, "limit_concurrency": MAX_CONNECTIONS}
    uvicorn.run(app, host=options.host, port=options.port, **limits)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
