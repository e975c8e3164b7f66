"""Serve a model over HTTP: PNG, JPEG or JSON images in, probabilities out; requests share batches."""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

try:
    import orjson
    import uvicorn
    from batcher import Batcher
    from connection import Connection
    from images import ImageError, read_jpeg, read_json, read_png
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route

    import tinynets as tn
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[serve]'") from None

READERS = {"image/png": read_png, "image/jpeg": read_jpeg, "application/json": read_json}
MAX_BODY = 256 * 1024  # bytes
BODY_SECONDS = 10  # for the whole body to arrive
UVICORN = {
    "http": Connection,
    "ws": "none",  # no WebSockets
    "limit_concurrency": 512,  # connections; more get a 503; with MAX_BODY it bounds the memory
    "timeout_graceful_shutdown": 30,  # seconds
    "access_log": False,
}


async def read_body(request: Request) -> bytes:
    """Read the body, but no more than `MAX_BODY`, whatever the client declares or sends."""
    closing = {"Connection": "close"}  # otherwise the rest would be read and discarded, however long it is
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


def as_json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")


def refusal(_: Request, error: HTTPException) -> Response:
    return as_json({"detail": error.detail}, error.status_code, error.headers)


def application(model: tn.Module, *, max_batch: int = 64, max_wait: float = 0) -> Starlette:
    """Build the application; an image waits up to `max_wait` seconds for others."""
    batcher = Batcher(model, max_batch=max_batch, max_wait=max_wait)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with batcher.running():
            yield  # the server exits only after the last answer

    async def health(_: Request) -> Response:
        return as_json({"status": "ok", "model": type(model).__name__, "in_flight": batcher.in_flight})

    async def predict(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if media_type not in READERS:
            raise HTTPException(415, f"the content type must be one of {', '.join(READERS)}")
        body = await read_body(request)
        try:
            probabilities = await batcher.probabilities(READERS[media_type](body))
        except (ImageError, tn.ShapeError) as error:
            raise HTTPException(422, str(error)) from None
        if not math.isfinite(sum(probabilities)):
            raise ArithmeticError(f"{type(model).__name__} answered {probabilities}")
        return as_json({"label": probabilities.index(max(probabilities)), "probabilities": probabilities})

    routes = [Route("/health", health), Route("/predict", predict, methods=["POST"])]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: refusal})


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
        "--max-wait", type=float, default=0, help="seconds to fill it; default: what waits runs at once"
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
    # uvicorn answers the requests that it has accepted, then raises the signal again for this handler.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    app = application(model, max_batch=options.max_batch, max_wait=options.max_wait)
    uvicorn.run(app, host=options.host, port=options.port, **UVICORN)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
