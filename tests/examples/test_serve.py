from __future__ import annotations

import asyncio
import http.client
import importlib
import importlib.util
import io
import json
import logging
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import tinynets as tn
from tinynets.checkpoint import Normalization

from .conftest import EXAMPLES

REASON = "`pip install 'tinynets[serve]'` brings it"
uvicorn = pytest.importorskip("uvicorn", reason=REASON)
pytest.importorskip("fastapi", reason=REASON)
Image = pytest.importorskip("PIL.Image", reason=REASON)

BENCHMARKS = EXAMPLES.parent / "benchmarks"
PNG, JSON = "image/png", "application/json"


@pytest.fixture(scope="module", autouse=True)
def paths() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)  # for its `harness`
        patch.syspath_prepend(EXAMPLES)
        yield


@pytest.fixture(scope="module")
def serve(paths: None) -> ModuleType:
    return importlib.import_module("serve")


@pytest.fixture(scope="module")
def benchmark(paths: None) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_serve", BENCHMARKS / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@contextmanager
def running(app: object) -> Iterator[tuple[uvicorn.Server, int]]:
    """Run the application on a free port, in a thread, and stop it gracefully."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield server, listening.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=20)
    assert not thread.is_alive()


class AnySize(tn.Module):
    """Takes grey images of any size; the logits are the mean and its opposite."""

    def forward(self, images: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 2"]:
        mean: Float[Tensor, "batch"] = images.mean((1, 2, 3))
        return torch.stack((mean, -mean), dim=1)


@pytest.fixture(scope="module")
def model() -> tn.Module:
    torch.manual_seed(0)
    return tn.TinyVisionMLP(hidden=32).train()  # `tn.inference` has to do what is needed


@pytest.fixture(scope="module")
def port(serve: ModuleType, model: tn.Module) -> Iterator[int]:
    with running(serve.application(model)) as (_, port):
        yield port


def ask(port: int, content_type: str, body: bytes, path: str = "/predict") -> tuple[int, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST" if body else "GET", path, body or None, {"Content-Type": content_type})
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if response.getheader("Content-Type") == JSON else content
    finally:
        connection.close()


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


def pixels(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def handmade(width: int, height: int, rows: bytes, *more: bytes) -> bytes:
    """A grey PNG that may declare any size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", header, *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


def probabilities(model: tn.Module, images: Tensor) -> list[list[float]]:
    with tn.inference(model):
        return model(images).softmax(dim=1).tolist()


# What comes out


@pytest.mark.parametrize("content_type", [PNG, JSON, "Application/JSON; charset=utf-8"])
def test_the_answer_is_that_of_the_model_alone(port: int, model: tn.Module, content_type: str) -> None:
    digit = pixels(28, 28)
    image = (digit.float() / 255)[None]
    body = png(digit) if content_type == PNG else json.dumps({"image": image.tolist()}).encode()
    status, answer = ask(port, content_type, body)
    assert status == 200
    [expected] = probabilities(model, image[None])
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert answer["label"] == expected.index(max(expected))


def test_health(port: int) -> None:
    healthy = {"status": "ok", "model": "TinyVisionMLP", "in_flight": 0}
    assert ask(port, "", b"", "/health") == (200, healthy)


def test_colours_go_to_a_model_for_colours(serve: ModuleType) -> None:
    model = tn.CifarMLP(hidden1=8, hidden2=8)
    photo = pixels(32, 32, 3)
    with running(serve.application(model)) as (_, port):
        status, answer = ask(port, PNG, png(photo, "RGB"))
    [expected] = probabilities(model, (photo.permute(2, 0, 1).float() / 255)[None])
    assert status == 200
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)


def test_the_normalisation_of_the_weights_is_applied(serve: ModuleType, tmp_path: Path) -> None:
    model = tn.CifarMLP(hidden1=8, hidden2=8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    model.normalization = Normalization(mean, std)
    model.save(tmp_path / "weights.safetensors")
    photo = pixels(32, 32, 3)
    with running(serve.application(tn.load(tmp_path / "weights.safetensors"))) as (_, port):
        _, answer = ask(port, PNG, png(photo, "RGB"))
        grey = detail(port, PNG, png(pixels(32, 32)))
    assert grey.startswith("CifarMLP(images): axis 1 is 1, expected 3\n"), (
        "three means would make three channels"
    )
    image = photo.permute(2, 0, 1).float() / 255
    plain = probabilities(model, image[None])[0]
    [expected] = probabilities(
        model, ((image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])[None]
    )
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert answer["probabilities"] != pytest.approx(plain, abs=1e-3)


# What is refused

DIGIT = [[[0.5] * 28] * 28]
CONTRACT = {
    "colours": (
        PNG,
        png(pixels(28, 28, 3), "RGB"),
        """TinyVisionMLP(images): axis 1 is 3, expected 1
  expected float   [batch 1 28 28]
  got      float32 [1     3 28 28]
  Colour images? Reduce them to one channel: images.mean(1, keepdim=True).""",
    ),
    "another size": (
        PNG,
        png(pixels(32, 32)),
        """TinyVisionMLP(images): axis 2 is 32, expected 28
  expected float   [batch 1 28 28]
  got      float32 [1     1 32 32]
  Resize or crop the images to 28x28.""",
    ),
    "channels last": (
        JSON,
        json.dumps({"image": [[[0.5]] * 28] * 28}).encode(),
        """TinyVisionMLP(images): axis 1 is 28, expected 1
  expected float   [batch 1  28 28]
  got      float32 [1     28 28 1]
  These sizes fit after images.permute(0, 3, 1, 2): the images look channels-last (NHWC), the model wants NCHW.
  Unchecked, a model that flattens would scramble pixels and channels silently.""",
    ),
    "no channels": (JSON, json.dumps({"image": DIGIT[0]}).encode(), ""),
    "a batch": (JSON, json.dumps({"image": [DIGIT]}).encode(), ""),
    "nothing": (JSON, b'{"image": []}', ""),
}


@pytest.mark.parametrize("case", CONTRACT)
def test_a_wrong_shape_is_refused_in_the_words_of_the_contract(
    serve: ModuleType, port: int, model: tn.Module, case: str
) -> None:
    content_type, body, literal = CONTRACT[case]
    said = detail(port, content_type, body)
    with pytest.raises(tn.ShapeError) as refused, tn.inference(model):
        model(serve.READERS[content_type](body)[None])
    assert said == str(refused.value)
    assert said == literal or not literal


WHOLE = png(pixels(28, 28))
LARGE = handmade(257, 256, b"\0" * 257 * 256)
TEXT_BOMB = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 20_000_000))
NO_PNG = "this is no whole PNG image"
RANGE = "numbers must lie in [0, 1], got {}; divide 8-bit pixels by 255"
BODIES = {
    "no PNG": (PNG, b"garbage", NO_PNG),
    "GIF": (PNG, b"GIF89a" + WHOLE, NO_PNG),
    "truncated PNG": (PNG, WHOLE[:400], NO_PNG),
    "PNG without its end": (PNG, WHOLE[:-12], NO_PNG),
    "PNG header only": (PNG, WHOLE[:33], NO_PNG),
    "one bit flipped": (PNG, WHOLE[:200] + bytes([WHOLE[200] ^ 1]) + WHOLE[201:], NO_PNG),
    "text that unpacks to 20 MB": (PNG, handmade(28, 28, b"\0" * 29 * 28, TEXT_BOMB), NO_PNG),
    "bomb": (PNG, handmade(60000, 60000, b""), "a PNG may have 65,536 pixels, this one has 60000x60000"),
    "just too large": (PNG, LARGE, "a PNG may have 65,536 pixels, this one has 257x256"),
    "palette": (PNG, png(pixels(28, 28), "P"), "a PNG must be 8-bit grey (L) or RGB, this one is P"),
    "transparent": (
        PNG,
        png(pixels(28, 28, 4), "RGBA"),
        "a PNG must be 8-bit grey (L) or RGB, this one is RGBA",
    ),
    "no JSON": (JSON, b'{"image": ', "this is no JSON: Expecting value: line 1 column 11 (char 10)"),
    "no text": (JSON, b"\xff\xfe\x00", "this is no JSON: 'utf-"),
    "no object": (JSON, b"[[[0.5]]]", 'the JSON must be {"image": [[[...]]]}: channels, rows and numbers'),
    "no image": (
        JSON,
        b'{"pixels": []}',
        'the JSON must be {"image": [[[...]]]}: channels, rows and numbers',
    ),
    "text": (JSON, b'{"image": "x"}', 'the JSON must be {"image": [[[...]]]}: channels, rows and numbers'),
    "ragged": (JSON, b'{"image": [[1, 0], [1]]}', "the image must be lists of numbers, equally long: "),
    "words": (JSON, b'{"image": [["x"]]}', "the image must be lists of numbers, equally long: "),
    "null": (JSON, b'{"image": [null]}', "the image must be lists of numbers, equally long: "),
    "huge": (JSON, b'{"image": [1%s]}' % (b"0" * 400), "the image must be lists of numbers, equally long: "),
    "deep": (
        JSON,
        b'{"image": %s1%s}' % (b"[" * 65, b"]" * 65),
        "lists may be nested 8 deep, these are 65 deep",
    ),
    "bottomless": (JSON, b"[" * 200_000, "this is no JSON: maximum recursion depth exceeded"),
    "8-bit": (JSON, b'{"image": [[[0, 255]]]}', RANGE.format("0 to 255")),
    "negative": (JSON, b'{"image": [[[-1, 1]]]}', RANGE.format("-1 to 1")),
    "NaN": (JSON, b'{"image": [[[0.5, NaN]]]}', RANGE.format("nan to nan")),
    "infinity": (JSON, b'{"image": [[[0.5, 1e999]]]}', RANGE.format("0.5 to inf")),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_no_image_is_refused(port: int, case: str) -> None:
    content_type, body, text = BODIES[case]
    said = detail(port, content_type, body)
    assert said.startswith(text) if text.endswith((": ", "utf-", "exceeded")) else said == text


def test_the_largest_png_is_decoded(serve: ModuleType) -> None:
    assert serve.read_png(png(pixels(256, 256))).shape == (1, 256, 256)


def test_no_damage_makes_a_reader_raise_anything_else(serve: ModuleType) -> None:
    whole = serve.read_png(WHOLE)
    random = torch.Generator().manual_seed(0)
    for _ in range(200):
        place, value = (int(torch.randint(high, (), generator=random)) for high in (len(WHOLE), 256))
        with suppress(serve.ImageError):
            assert torch.equal(serve.read_png(WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :]), whole)


@pytest.mark.parametrize("content_type", ["", "text/plain", "image/jpeg", "multipart/form-data; boundary=x"])
def test_another_content_type_is_refused(port: int, content_type: str) -> None:
    said = detail(port, content_type, WHOLE, status=415)
    assert said == "the content type must be one of image/png, application/json"


def raw(port: int, *lines: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall("\r\n".join((*lines, "Host: x", "Content-Type: image/png", "", "")).encode())
    return connection


def test_a_body_too_large_is_refused_before_it_is_sent(port: int) -> None:
    with raw(port, "POST /predict HTTP/1.1", "Content-Length: 262145") as connection:
        answer = connection.makefile("rb").read()  # to the end: the server closes
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b'{"detail":"the body may have 262,144 bytes"}')


def test_a_body_without_end_is_refused_at_the_limit(port: int) -> None:
    sent = 0
    with raw(port, "POST /predict HTTP/1.1", "Transfer-Encoding: chunked") as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        try:
            while sent < 2**30:
                connection.sendall(b"8000\r\n" + b"x" * 32768 + b"\r\n")
                sent += 32768
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 2**25, "what lies in the buffers of two sockets, but not more"
    assert ask(port, PNG, WHOLE)[0] == 200


def test_the_largest_body_is_read(port: int) -> None:
    body = b'{"image": []}'
    assert detail(port, JSON, body + b" " * (256 * 1024 - len(body))).startswith("TinyVisionMLP(images): ")
    assert ask(port, JSON, body + b" " * (256 * 1024 + 1 - len(body)))[0] == 413


def test_a_body_that_trickles_is_given_up(serve: ModuleType, port: int, monkeypatch) -> None:
    monkeypatch.setattr(serve, "BODY_SECONDS", 0.1)
    with raw(port, "POST /predict HTTP/1.1", "Content-Length: 100") as connection:
        connection.sendall(b"x")
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 408 ")


def test_a_client_that_leaves_is_no_error(port: int, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        with raw(port, "POST /predict HTTP/1.1", "Content-Length: 100") as connection:
            connection.sendall(b"x")
        for _ in range(3):
            assert ask(port, PNG, WHOLE)[0] == 200
    assert not caplog.records


# Many at once


def test_64_clients_get_what_one_would(serve: ModuleType, benchmark: ModuleType, model: tn.Module) -> None:
    asked = benchmark.questions(model, 100)
    modes: set[tuple[bool, ...]] = set()
    sizes: list[int] = []

    def spy(module: tn.Module, inputs: tuple[Tensor]) -> None:
        modes.add((torch.is_inference_mode_enabled(), *(part.training for part in module.modules())))
        sizes.append(len(inputs[0]))

    handle = model.register_forward_pre_hook(spy)
    model.fc1.eval()  # a mode of its own, which must come back
    try:
        with running(serve.application(model)) as (_, port):
            load = benchmark.load(port, asked, clients=64, requests=256, seconds=30)
        assert [part.training for part in model.modules()] == [True, False, True]
    finally:
        handle.remove()
        model.train()
    assert len(load.answers) == 256
    assert load.wrong() == []
    assert modes == {(True, False, False, False)}
    assert max(sizes) > 8, "they shared batches"
    assert max(sizes) <= 64


def test_a_wrong_answer_is_seen(benchmark: ModuleType, port: int, model: tn.Module) -> None:
    asked = benchmark.questions(model, 8)
    mixed_up = [question._replace(truth=asked[index - 1].truth) for index, question in enumerate(asked)]
    load = benchmark.load(port, mixed_up, clients=4, requests=16, seconds=30)
    assert len(load.wrong()) == 16
    refused = benchmark.load(port, [asked[0]._replace(body=b"x")], clients=1, requests=1, seconds=30)
    assert len(refused.wrong()) == 1


def test_the_load_ends_in_time(benchmark: ModuleType, port: int, model: tn.Module) -> None:
    load = benchmark.load(port, benchmark.questions(model, 8), clients=2, requests=10**9, seconds=0.2)
    assert 0 < len(load.answers) < 10**5
    assert load.seconds < 5


def test_the_benchmark_reports(benchmark, port, model, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("harness.RESULTS", tmp_path)
    asked = benchmark.questions(model, 8)
    loads = [benchmark.load(port, asked, clients=2, requests=8, seconds=30) for _ in range(4)]
    benchmark.report("tiny", 2, dict(zip(benchmark.SIDES, (loads[:2], loads[2:]), strict=True)))
    [path] = tmp_path.iterdir()
    for side in json.loads(path.read_text())["sides"].values():
        assert side["answers"] == 16
        assert side["wrong"] == 0
        assert side["requests_per_second"]["median"] > 0
    assert len(re.findall(r"\| 16 \| 0 \|", capsys.readouterr().out)) == 2


def test_a_bad_image_fails_no_neighbour(port: int) -> None:
    bad = png(pixels(28, 28, 3), "RGB")
    with ThreadPoolExecutor(64) as clients:
        answers = list(clients.map(lambda body: ask(port, PNG, body), [WHOLE, bad] * 32))
    assert [status for status, _ in answers] == [200, 422] * 32
    assert {answer["detail"] for _, answer in answers[1::2]} == {CONTRACT["colours"][2]}


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


def test_a_failure_of_the_model_is_no_fault_of_the_request(port: int, model: tn.Module, caplog) -> None:
    assert ask(port, PNG, WHOLE)[0] == 200
    with tn.training(model):  # someone else holds it in the other mode
        assert ask(port, PNG, WHOLE) == (500, b"Internal Server Error")
    for _ in range(500):  # it is logged after it is answered
        if "ModeError" in caplog.text:
            break
        time.sleep(0.01)
    assert "ModeError: TinyVisionMLP cannot go to eval mode: thread 'MainThread'" in caplog.text
    assert ask(port, PNG, WHOLE)[0] == 200


# The end


def test_stopping_under_load_loses_no_accepted_request(serve, benchmark, model, monkeypatch) -> None:
    accepted = answered = 0
    whole = serve.Batcher.probabilities

    async def counting(self, image: Tensor) -> list[float]:
        nonlocal accepted, answered
        accepted += 1
        answer = await whole(self, image)
        answered += 1
        return answer

    monkeypatch.setattr(serve.Batcher, "probabilities", counting)
    received: list[int] = []

    def client(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            while True:
                connection.request("POST", "/predict", WHOLE, {"Content-Type": PNG})
                response = connection.getresponse()
                assert len(json.loads(response.read())["probabilities"]) == 10
                received.append(response.status)
        except (ConnectionError, http.client.HTTPException):
            connection.close()  # it was not accepted

    with ThreadPoolExecutor(16) as clients:
        with running(serve.application(model, max_wait=0.01)) as (_, port):
            threads = [clients.submit(client, port) for _ in range(16)]
            while len(received) < 50:
                time.sleep(0.01)
        for thread in threads:
            thread.result(timeout=20)
    assert len(received) >= 50
    assert set(received) == {200}
    assert accepted == answered == len(received)


@pytest.mark.slow
def test_sigterm_answers_all_who_wait(benchmark: ModuleType, model: tn.Module, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    model.save(weights)
    asked = benchmark.questions(model, 64)
    with (
        benchmark.served(weights, "--max-batch", 65, "--max-wait", 2) as (process, port),
        ThreadPoolExecutor(1) as clients,
    ):
        assert ask(port, PNG, WHOLE)[0] == 200
        future = clients.submit(benchmark.load, port, asked, clients=64, requests=64, seconds=20)
        while ask(port, "", b"", "/health")[1]["in_flight"] < 64:
            assert not future.done()
        process.send_signal(signal.SIGTERM)
        load = future.result(timeout=20)
        assert process.wait(timeout=20) == 0
    assert len(load.answers) == 64
    assert load.wrong() == []


@pytest.mark.slow
def test_without_a_model_one_is_trained_and_ctrl_c_stops_it(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "serve.py"), "--port", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "running on" in line)
            port = int(re.findall(r"127\.0\.0\.1:(\d+)", line)[0])
            with ExitStack() as crowd:
                for _ in range(512):
                    crowd.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                assert ask(port, PNG, WHOLE) == (503, b"Service Unavailable")
            for _ in range(100):
                if (answer := ask(port, PNG, WHOLE))[0] != 503:
                    break
            process.send_signal(signal.SIGINT)
            printed, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert answer[0] == 200
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert printed.startswith("No --model FILE: training a small one in runs/serve, for seconds.\n")
    trained = tn.load(tmp_path / "runs/serve/weights.safetensors")
    [expected] = probabilities(trained, (pixels(28, 28).float() / 255)[None, None])
    assert answer[1]["probabilities"] == pytest.approx(expected, abs=1e-5)


def test_a_file_that_is_no_model_is_one_clear_line(serve: ModuleType, tmp_path: Path, capsys) -> None:
    path = tmp_path / "weights.safetensors"
    assert serve.main(["--model", str(path)]) == 1
    assert capsys.readouterr().err == f"error: no file at {path}\n"
    path.write_bytes(b"garbage")
    assert serve.main(["--model", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {path} is no whole safetensors file: ")


@pytest.mark.parametrize(
    "option", ["--max-batch=0", "--max-wait=-1", "--max-wait=nan", "--port=70000", "--port=-1"]
)
def test_an_option_out_of_range_is_refused(serve: ModuleType, capsys, option: str) -> None:
    with pytest.raises(SystemExit) as stop:
        serve.main([option])
    assert stop.value.code == 2
    text = "error: --max-batch must be at least 1, --max-wait in [0, 60] and --port in [0, 65535]\n"
    assert capsys.readouterr().err.endswith(text)


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "PIL"])
def test_a_missing_package_is_named_with_the_remedy(paths, monkeypatch, package: str) -> None:
    monkeypatch.delitem(sys.modules, "images", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLES / "serve.py"), run_name="__main__")
    assert stop.value.code == f"error: {package} is not installed: pip install 'tinynets[serve]'"
