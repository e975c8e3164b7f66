"""Stopping: no accepted request is lost."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest
from torch import Tensor

import tinynets as tn

from ..conftest import EXAMPLES
from .client import PNG, WHOLE, ask, pixels, probabilities, running


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


HELD = ("--max-batch", 65, "--max-wait", 2)  # 64 images are not run before two seconds are over


@pytest.mark.slow
def test_sigterm_answers_all_who_wait(benchmark: ModuleType, model: tn.Module, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    model.save(weights)
    asked = benchmark.questions(model, 64)
    with (
        benchmark.served(benchmark.SERVER, "--model", weights, *HELD) as server,
        ThreadPoolExecutor(1) as clients,
    ):
        future = clients.submit(benchmark.load, server.port, asked, clients=64, requests=64, seconds=20)
        while ask(server.port, "", b"", "/health")[1]["in_flight"] < 64:
            assert not future.done()
        server.process.send_signal(signal.SIGTERM)
        load = future.result(timeout=20)
        assert server.process.wait(timeout=20) == 0
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
