"""Many clients at once: right answers from shared batches, and a failure stays with its own."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import torch
from torch import Tensor

import tinynets as tn

from .client import PNG, WHOLE, ask, detail, pixels, png, running


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
    assert {answer["detail"] for _, answer in answers[1::2]} == {detail(port, PNG, bad)}


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
