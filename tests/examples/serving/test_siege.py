"""10,000 requests, every other one hostile: right answers, flat memory, and a clean end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import torch

import tinynets as tn

from .client import running
from .siege import KINDS, Siege

FLAT = 4 * 2**20  # bytes that the server may grow by, after it has seen every kind of client


def grown(server: psutil.Process, before: int) -> int:
    """How many bytes more the server has; some come back only after a while."""
    for _ in range(20):
        if (more := server.memory_info().rss - before) < FLAT:
            break
        time.sleep(0.1)
    return more


@pytest.mark.slow
def test_a_siege(benchmark: ModuleType, model: tn.Module, tmp_path: Path) -> None:
    model.save(tmp_path / "weights.safetensors")
    asked = benchmark.questions(model, 500)
    with (
        benchmark.served(benchmark.SERVER, "--model", tmp_path / "weights.safetensors") as server,
        ThreadPoolExecutor(33) as clients,
    ):
        process, siege = psutil.Process(server.process.pid), Siege(server.port, asked)

        def both(requests: int) -> None:
            attack = clients.submit(siege.run, requests)
            load = benchmark.load(server.port, asked, clients=32, requests=requests, seconds=300)
            assert load.wrong() == []
            assert len(load.answers) == requests
            assert attack.result(timeout=300) == Counter()

        both(1000)
        before = process.memory_info().rss
        both(4000)
        assert grown(process, before) < FLAT

        all_begun = threading.Barrier(33)  # each has sent its head, but not its body
        late = [clients.submit(siege.slow, turn, half_way=all_begun.wait) for turn in range(32)]
        all_begun.wait(timeout=60)
        server.process.send_signal(signal.SIGTERM)
        for one in late:
            one.result(timeout=60)
        assert server.process.wait(timeout=60) == 0


@pytest.fixture
def broken(serve: ModuleType, model: tn.Module, monkeypatch) -> Iterator[int]:
    """A server that mixes up the answers of a batch, and forgets nothing that it has seen."""
    kept = []
    whole = serve.Batcher.infer_here

    def mixed_up(self, images: list) -> list:
        kept.append(torch.ones(2**20))
        return whole(self, images)[::-1] if len(images) > 1 else [[0.5, 0.5]]

    monkeypatch.setattr(serve.Batcher, "infer_here", mixed_up)
    with running(serve.application(model)) as (_, port):
        yield port


@pytest.mark.slow
def test_the_siege_sees_wrong_answers_and_a_leak(benchmark, model, broken: int) -> None:
    itself = psutil.Process(os.getpid())
    before = itself.memory_info().rss
    wrong = Siege(broken, benchmark.questions(model, 20)).run(len(KINDS) * 6, threads=4)
    assert {text.split(":")[0] for text in wrong} == {"slow", "half_closed", "bomb_in_a_text", "wrong_shape"}
    assert grown(itself, before) > 10 * FLAT


@pytest.mark.slow
def test_the_siege_sees_what_is_let_in(serve, benchmark, model, monkeypatch) -> None:
    monkeypatch.setattr("serve.MAX_BODY", 2**30)
    monkeypatch.setattr("serve.BODY_SECONDS", 2)
    monkeypatch.setattr("images.MAX_PIXELS", 2**30)
    with running(serve.application(model)) as (_, port):
        wrong = Siege(port, benchmark.questions(model, 20)).run(len(KINDS), threads=4)
    assert {text.split(":")[0] for text in wrong} >= {"bomb", "sends_100_mb", "declares_100_mb"}


@pytest.mark.slow
def test_the_siege_sees_a_half_closed_client_cut_off(serve, benchmark, model, monkeypatch) -> None:
    closed = asyncio.Event()
    infer = serve.Batcher.infer

    async def infer_after_the_close(self, images: list) -> list:  # before it, the answer would be in time
        await closed.wait()
        return await infer(self, images)

    monkeypatch.setattr(serve.Batcher, "infer", infer_after_the_close)
    monkeypatch.setattr("connection.Connection.eof_received", lambda self: closed.set())
    with running(serve.application(model)) as (_, port), pytest.raises(ConnectionError):
        Siege(port, benchmark.questions(model, 20)).half_closed(0)
