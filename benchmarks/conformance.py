"""Measure `check_model` on every model of the zoo: all checks except the slow ones, on one thread.

Run `python benchmarks/conformance.py`; it prints the figures and writes them to `benchmarks/results`. Seconds
are CPU time of this process.
"""

from __future__ import annotations

import statistics
import time
from functools import partial

import torch
from harness import table, write

import tinynets as tn


def seconds(name: str) -> tuple[float, dict[str, int]]:
    """Check one model; return the seconds and the number of checks in each status."""
    start = time.process_time()
    report = tn.testing.check_model(partial(tn.create_model, name), on_fail="collect")
    return time.process_time() - start, report.counts


def main() -> None:
    torch.set_num_threads(1)
    seconds("lenet5")  # imports and caches do not count for any model
    found = {name: seconds(name) for name in tn.list_models()}
    print(table(("model", "s", "checks"), [(n, f"{s:.2f}", str(counts)) for n, (s, counts) in found.items()]))
    times = [s for s, _ in found.values()]
    summary = {"median": statistics.median(times), "min": min(times), "max": max(times), "n": len(times)}
    print(", ".join(f"{key} {value:.3g}" for key, value in summary.items()))
    record = {
        "seconds": {name: round(s, 2) for name, (s, _) in found.items()},
        "counts": {name: counts for name, (_, counts) in found.items()},
        "summary": {key: round(value, 3) for key, value in summary.items()},
    }
    print(f"written to {write('conformance', record)}")


if __name__ == "__main__":
    main()
