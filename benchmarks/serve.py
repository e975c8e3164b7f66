"""`examples/serve.py` under 64 clients at once: throughput, latency, and every answer compared.

Run `python benchmarks/serve.py`. It starts two servers on free ports of this machine, one that runs every
image alone and one that batches, and gives them turns. The clients share the machine with the servers.

An answer is wrong if its status is not 200, its label is not the most probable class of the model alone, or
a probability differs by more than 1e-5 from that of the model alone, called on this image in one thread.
Equality would be too much to ask: another batch size takes the sums of a matrix product in another order.
"""

from __future__ import annotations

import argparse
import http.client
import io
import itertools
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from harness import Spread, table, write
from PIL import Image
from torch import Tensor, nn

import tinynets as tn

SERVER = Path(__file__).parents[1] / "examples" / "serve.py"
TOLERANCE = 1e-5
SIDES = {"one image a batch": 1, "batches of up to 64": 64}


class Question(NamedTuple):
    """A request body, and the probabilities that the model alone gives for its image."""

    content_type: str
    body: bytes
    truth: list[float]


class Answer(NamedTuple):
    question: Question
    status: int
    body: bytes
    seconds: float


@dataclass(frozen=True)
class Load:
    """What the clients saw."""

    answers: list[Answer]
    seconds: float
    client_seconds: float  # of processor time

    @property
    def throughput(self) -> float:
        return len(self.answers) / self.seconds

    def wrong(self) -> list[Answer]:
        return [answer for answer in self.answers if difference(answer) > TOLERANCE]

    def percentile(self, percent: int) -> float:
        """Return a percentile of the latencies in milliseconds."""
        return 1e3 * statistics.quantiles([answer.seconds for answer in self.answers], n=100)[percent - 1]


def difference(answer: Answer) -> float:
    """Compare an answer with the truth: the largest difference of a probability, infinity for a refusal."""
    if answer.status != 200:
        return float("inf")
    given, truth = json.loads(answer.body), answer.question.truth
    if given["label"] != truth.index(max(truth)) or len(given["probabilities"]) != len(truth):
        return float("inf")
    return max(abs(ours - true) for ours, true in zip(given["probabilities"], truth, strict=True))


def questions(model: nn.Module, number: int) -> list[Question]:
    """Ask about random images, every other one as PNG; no two have the same answer, so mix-ups would show."""
    pixels = torch.randint(
        256, (number, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    images = (pixels.float() / 255).unsqueeze(1)
    with tn.inference(model):
        truths = torch.cat([model(image[None]).softmax(dim=1) for image in images])
    apart = torch.cdist(truths, truths, p=torch.inf).fill_diagonal_(1).min().item()
    if apart <= 2 * TOLERANCE:
        raise SystemExit(f"two images have answers only {apart:.1g} apart: a mix-up would not be seen")
    bodies = [png(image) if odd else as_json(image) for odd, image in zip(itertools.cycle((0, 1)), pixels)]
    return [Question(*body, truth) for body, truth in zip(bodies, truths.tolist(), strict=True)]


def png(pixels: Tensor) -> tuple[str, bytes]:
    file = io.BytesIO()
    Image.frombytes("L", (28, 28), bytes(pixels.flatten().tolist())).save(file, "PNG")
    return "image/png", file.getvalue()


def as_json(pixels: Tensor) -> tuple[str, bytes]:
    return "application/json", json.dumps({"image": (pixels.float() / 255)[None].tolist()}).encode()


def load(port: int, asked: Sequence[Question], *, clients: int, requests: int, seconds: float) -> Load:
    """Let `clients` threads, one connection each, ask until all is answered or the time is over."""
    ticket = itertools.count()  # next() of it is atomic
    start = time.perf_counter()

    def client(_: int) -> list[Answer]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
        answers: list[Answer] = []
        while (index := next(ticket)) < requests and time.perf_counter() - start < seconds:
            question = asked[index % len(asked)]
            began = time.perf_counter()
            connection.request("POST", "/predict", question.body, {"Content-Type": question.content_type})
            response = connection.getresponse()
            content = response.read()
            answers.append(Answer(question, response.status, content, time.perf_counter() - began))
        connection.close()
        return answers

    processor = time.process_time()
    with ThreadPoolExecutor(clients) as threads:
        answers = [answer for part in threads.map(client, range(clients)) for answer in part]
    return Load(answers, time.perf_counter() - start, time.process_time() - processor)


@contextmanager
def served(weights: Path, *options: object) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the server on a free port, yield its process and port, and stop it as an operator would."""
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, str(SERVER), "--model", str(weights), "--port", "0", *map(str, options)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(600):
                log.seek(0)
                if (found := re.search(rb"running on http://127\.0\.0\.1:(\d+)", log.read())) is not None:
                    break
                if process.poll() is not None:
                    break
                time.sleep(0.1)
            if found is None:
                log.seek(0)
                raise RuntimeError(f"the server did not start: {log.read().decode()}")
            yield process, int(found[1])
            process.send_signal(signal.SIGTERM)
            if process.wait(timeout=30):
                log.seek(0)
                raise RuntimeError(f"the server ended with {process.returncode}: {log.read().decode()}")
        finally:
            process.kill()
            process.wait()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--name", default="tiny_vision_mlp", choices=tn.list_models(image_size=28))
    options.add_argument("--clients", type=int, default=64)
    options.add_argument("--requests", type=int, default=2000, help="of one server in one round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=30, help="hard limit of one round")
    chosen = options.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = tn.create_model(chosen.name)
    asked = questions(model, 500)
    ask = partial(load, asked=asked, clients=chosen.clients, seconds=chosen.seconds)
    loads: dict[str, list[Load]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        model.save(weights)
        single, batched = SIDES.values()
        with (
            served(weights, "--max-batch", single) as (_, first),
            served(weights, "--max-batch", batched) as (_, second),
        ):
            ports = dict(zip(SIDES, (first, second), strict=True))
            for port in ports.values():  # warm-up
                ask(port, requests=500)
            for turn in range(chosen.rounds):
                for name in list(SIDES)[:: 1 if turn % 2 else -1]:
                    loads[name].append(ask(ports[name], requests=chosen.requests))
    report(chosen.name, chosen.clients, loads)


def report(model: str, clients: int, loads: dict[str, list[Load]]) -> None:
    rows: list[tuple[str, ...]] = []
    record: dict[str, object] = {}
    for name, rounds in loads.items():
        throughput = Spread.of([one.throughput for one in rounds])
        latencies = {percent: Spread.of([one.percentile(percent) for one in rounds]) for percent in (50, 99)}
        answers = [answer for one in rounds for answer in one.answers]
        wrong = sum(len(one.wrong()) for one in rounds)
        record[name] = {
            "requests_per_second": throughput.record(),
            "milliseconds": {f"p{percent}": spread.record() for percent, spread in latencies.items()},
            "answers": len(answers),
            "wrong": wrong,
            "largest_difference": max(difference(answer) for answer in answers),
            "client_processor_share": statistics.mean(one.client_seconds / one.seconds for one in rounds),
        }
        figures = (throughput.text(0), latencies[50].text(1), latencies[99].text(1))
        rows.append((name, *figures, f"{len(answers):,}", str(wrong)))
    first, second = loads.values()
    gain = Spread.of([ours.throughput / one.throughput for one, ours in zip(first, second, strict=True)])
    print(f"{model}, {clients} clients, median and quartiles of {gain.n} rounds\n")
    print(table((f"{model}", "requests/s", "p50 ms", "p99 ms", "answers", "wrong"), rows))
    print(f"\nbatching / not: {gain.text(2)} times the requests a second")
    path = write(
        f"serve_{model}",
        {
            "model": model,
            "clients": clients,
            "tolerance": TOLERANCE,
            "server": {package: version(package) for package in ("fastapi", "uvicorn", "pillow")},
            "batched_over_single": gain.record(),
            "sides": record,
        },
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
