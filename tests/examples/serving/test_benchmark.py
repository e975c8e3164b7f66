"""What the benchmark of the server says, and that it would see a wrong answer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import ModuleType

import pytest

import tinynets as tn

from .client import running


def test_a_wrong_answer_is_seen(benchmark: ModuleType, port: int, model: tn.Module) -> None:
    asked = benchmark.questions(model, 8)
    mixed_up = [question._replace(truth=asked[index - 1].truth) for index, question in enumerate(asked)]
    load = benchmark.load(port, mixed_up, clients=4, requests=16, seconds=30)
    assert len(load.wrong()) == 16
    refused = benchmark.load(port, [asked[0]._replace(body=b"x")], clients=1, requests=1, seconds=30)
    assert len(refused.wrong()) == 1


def test_the_load_ends_in_time(benchmark: ModuleType, port: int, model: tn.Module) -> None:
    load = benchmark.load(port, benchmark.questions(model, 8), clients=2, requests=10**9, seconds=0.5)
    assert 0 < len(load.answers) < 10**5
    assert load.seconds < 5


def test_a_server_that_does_not_answer_is_no_wait_for_ever(serve, benchmark, model) -> None:
    app = serve.application(model, max_wait=1)
    with running(app) as (_, port), pytest.raises(TimeoutError, match="2 clients had no answer for 0.1 s"):
        benchmark.load(port, benchmark.questions(model, 8), clients=2, requests=2, seconds=0.1)


def test_two_images_with_one_answer_are_refused(benchmark: ModuleType) -> None:
    model = tn.TinyVisionMLP(hidden=8)
    for parameter in model.parameters():
        parameter.data.zero_()
    with pytest.raises(SystemExit, match=r"two images have answers only 0 apart: a mix-up would not be seen"):
        benchmark.questions(model, 2)


def test_the_benchmark_reports(benchmark, port, model, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("harness.RESULTS", tmp_path)
    asked = benchmark.questions(model, 8)
    turns = [
        benchmark.Turn(benchmark.load(port, asked, clients=2, requests=8, seconds=30), server_seconds)
        for server_seconds in (0.08, 0.08, 0.16, 0.16)
    ]
    benchmark.report("tiny", {2: {"serve.py": turns[:2], "naive": turns[2:]}})
    printed = capsys.readouterr().out
    assert "| CPU ms/request, 2 clients | 10.00 (10.00-10.00) | 20.00 (20.00-20.00) |\n" in printed
    assert "| CPU ms/request, 2 clients | 0.50 (0.50-0.50) |\n" in printed
    assert "| answers, of them wrong | 16, 0 | 16, 0 |\n" in printed
    [path] = tmp_path.iterdir()
    record = json.loads(path.read_text())
    assert record["wrong"] == {"serve.py": 0, "naive": 0}
    assert record["figures"]["requests/s, 2 clients"]["serve.py"]["median"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("side", ["serve.py", "naive", "LitServe", "LitServe, batches"])
def test_every_side_answers_right_and_only_in_its_turn(benchmark, model, tmp_path: Path, side: str) -> None:
    if side != benchmark.OURS:
        pytest.importorskip(benchmark.NEEDS[side])
    model.save(tmp_path / "weights.safetensors")
    asked = benchmark.questions(model, 20)
    with benchmark.served(*benchmark.SIDES[side], "--model", tmp_path / "weights.safetensors") as server:
        turns = benchmark.take_turns({side: server}, asked, clients=[1, 8], rounds=2, requests=40)
        before = server.seconds()
        time.sleep(0.5)
        assert server.seconds() == before, "it is stopped"
    assert server.process.poll() is not None
    for taken in (turns[1][side], turns[8][side]):
        assert [len(turn.load.answers) for turn in taken] == [40, 40]
        assert [turn.load.wrong() for turn in taken] == [[], []]
    # Of all turns: the system counts processor time in ticks of 10 ms, and 40 requests may take less.
    assert sum(turn.server_seconds for taken in turns.values() for turn in taken[side]) > 0


@pytest.mark.slow
def test_a_server_that_does_not_start_says_why(benchmark: ModuleType, tmp_path: Path) -> None:
    text = r"the server did not start: error: no file at "
    with (
        pytest.raises(RuntimeError, match=text),
        benchmark.served(benchmark.SERVER, "--model", tmp_path / "none"),
    ):
        pass
