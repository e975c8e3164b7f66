"""Compare `examples/serve.py` with a naive handler and LitServe: latency, CPU time, every answer verified.

Run `python benchmarks/serve.py`; it needs `pip install fastapi litserve` for the other servers. All have the
same model, the same functions that read an image, uvicorn with uvloop and httptools, and one thread for
torch. They take turns: one answers, the others are stopped (SIGSTOP). The clients run on the same machine.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
import torch
from harness import Spread, table, write
from serve_client import TOLERANCE, Load, Question, ask, connected, difference, load, questions

import tinynets as tn

HERE = Path(__file__).parent
SERVER = HERE.parent / "examples" / "serve.py"
OURS = "serve.py"
SIDES: dict[str, list[object]] = {  # the command of each side
    OURS: [SERVER],
    "naive": [HERE / "serve_naive.py"],
    "LitServe": [HERE / "serve_litserve.py"],
    "LitServe, batches": [HERE / "serve_litserve.py", "--max-batch", 64],
}
NEEDS = {"naive": "fastapi", "LitServe": "litserve", "LitServe, batches": "litserve"}
PACKAGES = ("starlette", "uvicorn", "uvloop", "httptools", "orjson", "pillow", "fastapi", "litserve")


@dataclass(frozen=True)
class Turn:
    """The measurements of one server in one turn."""

    load: Load
    server_seconds: float  # CPU time, including its children

    def figures(self) -> dict[str, float]:
        return {
            "p50 ms": self.load.percentile(50),
            "p99 ms": self.load.percentile(99),
            "CPU ms/request": 1e3 * self.server_seconds / len(self.load.answers),
            "requests/s": self.load.throughput,
        }


DIGITS = {"p50 ms": 2, "p99 ms": 1, "CPU ms/request": 2, "requests/s": 0}
RATIOS = ("p50 ms", "CPU ms/request")
Turns = dict[int, dict[str, list[Turn]]]  # by the number of clients and the side


class Server:
    """A server and all of its processes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    def family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def seconds(self) -> float:
        return sum(sum(member.cpu_times()[:2]) for member in self.family())

    def suspend(self) -> None:
        for member in self.family():
            member.suspend()

    @contextmanager
    def awake(self) -> Iterator[None]:
        for member in self.family():
            member.resume()
        try:
            yield
        finally:
            self.suspend()


@contextmanager
def served(*command: object) -> Iterator[Server]:
    """Start a server on a free port, and stop it with SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    whole = [sys.executable, *map(str, command), "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        server = Server(subprocess.Popen(whole, stdout=log, stderr=log, env=environment), port)
        try:
            for _ in range(600):
                if server.process.poll() is not None or answers(port):
                    break
                time.sleep(0.1)
            if not answers(port):
                log.seek(0)
                raise RuntimeError(f"the server did not start: {log.read().decode()}")
            yield server
        finally:
            family = server.family()
            for member in family:
                member.resume()
            server.process.terminate()
            try:
                server.process.wait(timeout=30)
            finally:
                for member in family:  # LitServe does not stop its workers
                    with suppress(psutil.NoSuchProcess):
                        member.kill()
                server.process.wait()


def installed(package: str) -> bool:
    return next(metadata.distributions(name=package), None) is not None


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def take_turns(
    servers: dict[str, Server],
    asked: Sequence[Question],
    *,
    clients: Sequence[int],
    rounds: int,
    requests: int,
) -> Turns:
    """Let every server answer once in every round; the order rotates."""
    turns: Turns = {number: {name: [] for name in servers} for number in clients}
    names = list(servers)
    for server in servers.values():
        load(server.port, asked, clients=8, requests=500, seconds=60)  # warm-up
        server.suspend()
    for turn in range(rounds):
        for number in clients:
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                server = servers[name]
                with server.awake(), connected(server.port, clients=number, seconds=60) as group:
                    ask(group, asked, requests=50 + number, seconds=60)  # the first answers wait for `accept`
                    before = server.seconds()
                    found = ask(group, asked, requests=requests, seconds=60)
                    turns[number][name].append(Turn(found, server.seconds() - before))
    return turns


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    options.add_argument("--requests", type=int, default=1000, help="of one server in one round")
    options.add_argument("--rounds", type=int, default=9)
    chosen = options.parse_args()

    missing = sorted({need for need in NEEDS.values() if not installed(need)})
    if missing:
        print(f"pip install {' '.join(missing)} for the whole comparison\n")
    sides = {name: command for name, command in SIDES.items() if NEEDS.get(name) not in missing}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = tn.create_model("tiny_vision_mlp")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        weights = Path(folder) / "weights.safetensors"
        model.save(weights)
        servers = {
            name: running.enter_context(served(*command, "--model", weights))
            for name, command in sides.items()
        }
        asked = questions(model, 500)
        turns = take_turns(
            servers, asked, clients=chosen.clients, rounds=chosen.rounds, requests=chosen.requests
        )
    report("tiny_vision_mlp", turns)


def recorded(table: dict[str, dict[str, Spread]]) -> dict[str, dict[str, dict[str, float]]]:
    return {row: {name: spread.record() for name, spread in found.items()} for row, found in table.items()}


def report(model: str, turns: Turns) -> None:
    """Print the figures of every side, then our ratios to the others round by round; write both to a file."""
    names = list(next(iter(turns.values())))
    figures: dict[str, dict[str, Spread]] = {}
    ratios: dict[str, dict[str, Spread]] = {}
    for measure, (number, sides) in ((m, s) for m in DIGITS for s in turns.items()):
        row = f"{measure}, {number} client{'s' * (number > 1)}"
        values = {name: [turn.figures()[measure] for turn in taken] for name, taken in sides.items()}
        figures[row] = {name: Spread.of(found) for name, found in values.items()}
        if measure in RATIOS:
            ratios[row] = {
                name: Spread.of([ours / one for ours, one in zip(values[OURS], values[name], strict=True)])
                for name in names
                if name != OURS
            }
    loads = {name: [turn.load for sides in turns.values() for turn in sides[name]] for name in names}
    wrong = {name: sum(len(one.wrong()) for one in taken) for name, taken in loads.items()}
    total = {name: sum(len(one.answers) for one in taken) for name, taken in loads.items()}

    rows = [
        (row, *(found[name].text(DIGITS[row.split(",")[0]]) for name in names))
        for row, found in figures.items()
    ]
    rows.append(("answers, of them wrong", *(f"{total[name]:,}, {wrong[name]}" for name in names)))
    print(table((model, *names), rows))
    print()
    rows = [(row, *(spread.text(2) for spread in found.values())) for row, found in ratios.items()]
    print(table((f"{OURS} / the other, round by round", *(name for name in names if name != OURS)), rows))
    share = [one.client_seconds / one.seconds for taken in loads.values() for one in taken]
    record = {
        "model": model,
        "versions": {package: metadata.version(package) for package in PACKAGES if installed(package)},
        "load_average": os.getloadavg(),
        "answers": total,
        "wrong": wrong,
        "tolerance": TOLERANCE,
        "largest_difference": {
            name: max(difference(answer) for one in taken for answer in one.answers)
            for name, taken in loads.items()
        },
        "client_processor_share": statistics.median(share),
        "figures": recorded(figures),
        "ours_over_theirs": recorded(ratios),
    }
    path = write(f"serve_{model}", record)
    print(f"\nwrote {path}")


if __name__ == "__main__":
    main()
