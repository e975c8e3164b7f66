"""A server in a thread, and what clients send it.

Without the packages, the tests that import this are skipped.
"""

from __future__ import annotations

import http.client
import importlib
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

import tinynets as tn

REASON = "`pip install 'tinynets[serve]'` brings it"
uvicorn = pytest.importorskip("uvicorn", reason=REASON)
for package in ("starlette", "httptools", "orjson"):
    pytest.importorskip(package, reason=REASON)
Image = pytest.importorskip("PIL.Image", reason=REASON)

PNG, JPEG, JSON = "image/png", "image/jpeg", "application/json"


@contextmanager
def running(app: object) -> Iterator[tuple[uvicorn.Server, int]]:
    """Run the application on a free port, in a thread, and stop it gracefully."""
    limits = importlib.import_module("serve").UVICORN
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, **limits))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        try:
            yield server, listening.getsockname()[1]
        finally:  # the thread of a test that failed would keep its process alive
            server.should_exit = True
            thread.join(timeout=20)
    assert not thread.is_alive()


def ask(port: int, content_type: str, body: bytes, path: str = "/predict") -> tuple[int, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST" if body else "GET", path, body or None, {"Content-Type": content_type})
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if response.getheader("Content-Type") == JSON else content
    finally:
        connection.close()


def received(connection: socket.socket) -> tuple[int, bytes]:
    """Take one whole answer."""
    answer = b""
    while part := connection.recv(65536):
        answer += part
        head, end, body = answer.partition(b"\r\n\r\n")
        if end and len(body) == int(re.findall(rb"content-length: (\d+)", head)[0]):
            return int(head[9:12]), body
    raise ConnectionError(f"the server closed after {answer!r}")


def detail(port: int, content_type: str, body: bytes, *, status: int = 422) -> str:
    found, content = ask(port, content_type, body)
    assert found == status, content
    assert isinstance(content, dict)
    assert list(content) == ["detail"]
    return content["detail"]


def png(pixels: Tensor, mode: str = "L") -> bytes:
    file = io.BytesIO()
    height, width = pixels.shape[:2]
    Image.frombytes(mode, (width, height), bytes(pixels.flatten().tolist())).save(file, "PNG")
    return file.getvalue()


def jpeg(pixels: Tensor, mode: str = "L", *, progressive: bool = False) -> bytes:
    file = io.BytesIO()
    height, width = pixels.shape[:2]
    image = Image.frombytes(mode, (width, height), bytes(pixels.flatten().tolist()))
    image.save(file, "JPEG", quality=95, subsampling=0, progressive=progressive)
    return file.getvalue()


def pixels(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def probabilities(model: tn.Module, images: Tensor) -> list[list[float]]:
    with tn.inference(model):
        return model(images).softmax(dim=1).tolist()


WHOLE = png(pixels(28, 28))
