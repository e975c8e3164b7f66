"""Check architectures of other packages and print every objection, with its text.

Run `python -m tests.wild.run [NAME ...]` in the environment of `make conformance-wild`.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import torch

import tinynets as tn

from .net import Net

PACKAGES = ("transformers_nets", "other_nets")


def nets() -> dict[str, Net]:
    """Return every architecture of every package that is installed."""
    found: dict[str, Net] = {}
    for package in PACKAGES:
        try:
            found |= importlib.import_module(f"{__package__}.{package}").NETS
        except ImportError as error:
            print(f"not installed, so left out: {package}: {error}", file=sys.stderr)
    return found


def main(names: list[str]) -> None:
    """Check every architecture, or those whose names begin so."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    totals: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    everything = nets()
    chosen = [name for name in everything if not names or any(name.startswith(start) for start in names)]
    for name in chosen:
        net = everything[name]
        start = time.process_time()
        try:
            report = tn.testing.check_model(
                net.make, *net.inputs, named=net.named, on_fail="collect", timeout=120, **net.options
            )
        except Exception:
            print(f"== {name}: not checked\n{traceback.format_exc(limit=-4)}", flush=True)
            totals["not checked"] += 1
            continue
        seconds[name] = round(time.process_time() - start, 2)
        print(f"== {name}: {report.counts} in {seconds[name]} s", flush=True)
        for result in report.with_status("failed", "warned", "error"):
            totals[f"{result.status} {result.id}"] += 1
            print(f"{name} {result.status} {result.level} {result.id}: {result.message}", flush=True)
    print("== totals")
    for key, count in totals.most_common():
        print(f"{count:4} {key}")
    ordered = sorted(seconds.values())
    if ordered:
        print(f"seconds: median {ordered[len(ordered) // 2]}, p90 {ordered[int(len(ordered) * 0.9)]}")
    Path("wild.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
