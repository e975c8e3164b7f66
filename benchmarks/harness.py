"""Time variants in turns, and record the measurements with the machine."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import random
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer

RESULTS = Path(__file__).parent / "results"
Seconds = dict[str, list[float]]
CONTROL = "control"
UNTIMED = 3  # calls before each turn


@dataclass(frozen=True)
class Variant:
    """One side of a comparison: `call(*inputs)`, timed inside `context()`."""

    name: str
    call: Callable[..., Any]
    context: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles, over `n` rounds."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        low, median, high = statistics.quantiles(values, n=4)
        return cls(median, low, high, len(values))

    def scaled(self, factor: float) -> Spread:
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.n)

    def record(self) -> dict[str, float]:
        """Return the fields for a JSON file, to five digits."""
        return {name: float(f"{value:.5g}") for name, value in asdict(self).items()}

    def text(self, digits: int) -> str:
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def interleaved(
    variants: Sequence[Variant],
    *inputs: object,
    rounds: int,
    base: str = "",
    milliseconds: float = 2,
    clock: Callable[[], float] = time.thread_time,
) -> Seconds:
    """Time one turn of each variant in every round, on one thread.

    Noise on a shared machine comes in waves longer than a round, so a ratio within a round is more stable
    than a ratio of two medians. The previous turn affects the caches, so the order is shuffled in every
    round, and each turn starts with untimed calls. The base is timed twice, as itself and as
    `CONTROL`: `control` shows how reliable the figures of a run are.

    Args:
        variants: the sides.
        inputs: the arguments of each call.
        rounds: the number of turns of each side.
        base: the side that the others are compared with; by default the first.
        milliseconds: the minimum duration of a turn.
        clock: by default the CPU time of the thread, which excludes other programs; for sides that use
            several threads, pass `time.process_time`.
    """
    base = base or variants[0].name
    again = next(side for side in variants if side.name == base)
    sides = [*variants, Variant(CONTROL, again.call, again.context)]
    timers = [
        Timer("call(*inputs)", globals={"call": side.call, "inputs": inputs}, timer=clock) for side in sides
    ]
    calls = [1] * len(sides)
    for index, (side, timer) in enumerate(zip(sides, timers, strict=True)):
        with side.context():
            timer.timeit(20)  # warm-up
            calls[index] = math.ceil(milliseconds / 1000 / timer.timeit(20).mean)
    shuffled = random.Random(0)
    seconds: Seconds = {side.name: [] for side in sides}
    for _ in range(rounds):
        for index in shuffled.sample(range(len(sides)), len(sides)):
            with sides[index].context():
                for _ in range(UNTIMED):
                    sides[index].call(*inputs)
                seconds[sides[index].name].append(timers[index].timeit(calls[index]).mean)
    return seconds


def control(seconds: Seconds, base: str) -> str:
    """Report the ratio of the base to itself, and whether the figures of the run are reliable."""
    found = ratio(seconds, CONTROL, base)
    believable = 0.98 <= found.median <= 1.02
    return (
        f"control, {base} / {base}: {found.text(3)}{'' if believable else ': TOO NOISY, run again when idle'}"
    )


def ratio(seconds: Seconds, name: str, base: str) -> Spread:
    """Compare two variants round by round."""
    return Spread.of([ours / theirs for ours, theirs in zip(seconds[name], seconds[base], strict=True)])


def difference(seconds: Seconds, name: str, base: str) -> Spread:
    """Subtract two variants round by round."""
    return Spread.of([ours - theirs for ours, theirs in zip(seconds[name], seconds[base], strict=True)])


def machine() -> dict[str, Any]:
    """Describe this machine."""
    packages = ("torch", "einops", "jaxtyping", "beartype", "dltype", "numpy")
    return {
        "processor": processor(),
        "blas": blas(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version for package in packages if (version := version_of(package))},
    }


def version_of(package: str) -> str:
    """Return the version of a package, or "" if it is not installed: few benchmarks need all of them."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def processor() -> str:
    """Return the name of the processor, which `platform` leaves empty on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def blas() -> str:
    """Return the name of the BLAS library: MKL uses different code paths on AMD and on Intel."""
    found = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return f"{found[1] if found else 'unknown'}, {torch.get_num_threads()} threads"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table with names aligned left and figures aligned right."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def write(name: str, record: dict[str, Any]) -> Path:
    """Write a record with its machine to `benchmarks/results/`."""
    version = importlib.metadata.version("torch").split("+")[0]
    path = RESULTS / f"{name}_cpu_torch{version}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **record}, indent=2) + "\n")
    return path
