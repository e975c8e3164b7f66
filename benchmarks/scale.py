"""Measure the cost of the contract in each process of a group, and of inspecting models on the meta device.

Run `python benchmarks/scale.py`; it prints the figures and writes them to `benchmarks/results`. Images per
second are wall-clock figures, so run it on an idle machine; the rest is CPU time. See `docs/scale.md`.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
import torch.nn.functional as F
from harness import Spread, table, write
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import tinynets as tn
from tinynets.models import SimpleViT

BATCH = 32  # images per process
# Small, so that the relative cost of checks, which does not grow with the sizes, is largest.
SMALL = {"embed_dim": 64, "depth": 4, "num_heads": 4, "hidden": 256}
# 12 * depth * embed_dim ** 2 parameters, patches of 14 pixels: 256 tokens an image.
LARGE: dict[str, dict[str, int]] = {
    "1 billion": {"embed_dim": 1536, "depth": 36, "num_heads": 24, "hidden": 6144},
    "10 billion": {"embed_dim": 5120, "depth": 32, "num_heads": 40, "hidden": 20480},
}
IMAGE = {"image_size": 224, "patch_size": 14, "num_classes": 1000}
CHECKED, UNCHECKED, ALONE = "2 processes, checked", "2 processes, unchecked", "1 process, checked"


def looks() -> dict[str, Callable[[nn.Module], object]]:
    """Return what to time for each large model on the meta device, each in a separate process."""
    return {
        "build": lambda model: model,
        "explain": lambda model: str(tn.explain(model, "batch 3 224 224")),
        "check": lambda model: tn.testing.check_model(model, "batch 3 224 224"),
    }


def step(model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor) -> float:
    """Take one training step; return the CPU seconds of the forward pass in this thread."""
    begun = time.thread_time()
    logits = model(images)
    forward = time.thread_time() - begun
    F.cross_entropy(logits, torch.zeros(len(images), dtype=torch.long)).backward()
    optimizer.step()
    optimizer.zero_grad()
    return forward


def worker(rank: int, file: str, rounds: int, results: Any) -> None:
    """Take the steps of all sides in turns; a process without a part in a side waits."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    torch.manual_seed(0)
    bare, shared = SimpleViT(**SMALL), DistributedDataParallel(SimpleViT(**SMALL))
    sides: dict[str, tuple[nn.Module, bool]] = {
        CHECKED: (shared, True),
        UNCHECKED: (shared, False),
        ALONE: (bare, True),
    }
    optimizers = {id(model): torch.optim.AdamW(model.parameters()) for model, _ in sides.values()}
    images = torch.rand(BATCH, 3, 32, 32)
    names = list(sides)
    walls: dict[str, list[float]] = {name: [] for name in names}
    works: dict[str, list[float]] = {name: [] for name in names}
    forwards: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-3, rounds):  # three to warm up
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            model, checked = sides[name]
            dist.barrier()
            if name == ALONE and rank != 0:
                continue
            with nullcontext() if checked else tn.checks(False):
                begun, worked = time.perf_counter(), time.process_time()
                forward = step(model, optimizers[id(model)], images)
                if turn >= 0:
                    walls[name].append(time.perf_counter() - begun)
                    works[name].append(time.process_time() - worked)
                    forwards[name].append(forward)
    dist.barrier()
    results[rank] = {"step": walls, "work": works, "forward": forwards}
    dist.destroy_process_group()


def steps(rounds: int) -> dict[str, Any]:
    """Measure training steps on one and on two processes, checks on and off, all in one run."""
    with multiprocessing.get_context("spawn").Manager() as manager, tempfile.TemporaryDirectory() as folder:
        results = manager.dict()
        multiprocessing.spawn(worker, (str(Path(folder) / "group"), rounds, results), nprocs=2)
        found = dict(results)
    per_second = {
        name: Spread.of([BATCH * (1 if name == ALONE else 2) / second for second in found[0]["step"][name]])
        for name in (ALONE, CHECKED, UNCHECKED)
    }
    cost = {
        f"rank {rank}": Spread.of(
            [
                on / off
                for on, off in zip(
                    *(found[rank]["forward"][name] for name in (CHECKED, UNCHECKED)), strict=True
                )
            ]
        )
        for rank in sorted(found)
    }
    work = {
        name: Spread.of([1000 * second for second in found[0]["work"][name]])
        for name in (ALONE, CHECKED, UNCHECKED)
    }
    milliseconds = Spread.of([1000 * second for second in found[0]["forward"][CHECKED]])
    rows = [[name, spread.text(0), work[name].text(1)] for name, spread in per_second.items()]
    print(table(["training", "images per second", "processor ms per step and process"], rows))
    print()
    print(table(["forward pass, checked / unchecked", ""], [[k, v.text(3)] for k, v in cost.items()]))
    return {
        "model": {**SMALL, "batch per process": BATCH},
        "images per second": {name: spread.record() for name, spread in per_second.items()},
        "processor ms per step": {name: spread.record() for name, spread in work.items()},
        "forward, checked to unchecked": {name: spread.record() for name, spread in cost.items()},
        "forward, checked [ms]": milliseconds.record(),
    }


def look(size: str, what: str, results: Any) -> None:
    """Build a large model without its weights and inspect it; runs in a separate process."""
    torch.set_num_threads(1)
    tn.explain(tn.TinyVisionMLP())  # triggers the imports of tn.explain
    tn.testing.list_checks()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    with torch.device("meta"):
        model = SimpleViT(**IMAGE, **LARGE[size])
    looks()[what](model)
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results.append((seconds, (peak - before) / 1024, sum(p.numel() for p in model.parameters())))


def large(repeats: int) -> dict[str, Any]:
    """Measure time and memory of each inspection of each large model, including its construction."""
    context = multiprocessing.get_context("spawn")
    record: dict[str, Any] = {}
    rows: list[list[str]] = []
    for size in LARGE:
        for what in looks():
            with context.Manager() as manager:
                found = manager.list()
                for _ in range(repeats):
                    process = context.Process(target=look, args=(size, what, found))
                    process.start()
                    process.join()
                    if process.exitcode:
                        raise SystemExit(f"{what} of {size} parameters ended with {process.exitcode}")
                seconds, mebibytes, parameters = zip(*found, strict=True)
            record.setdefault(size, {**LARGE[size], "parameters": parameters[0]})[what] = {
                "seconds": [round(second, 3) for second in seconds],
                "MiB over the import": [round(memory, 1) for memory in mebibytes],
            }
            row = [f"{size}: {what}", f"{parameters[0]:,}", f"{statistics.median(seconds):.2f}"]
            rows.append([*row, f"{statistics.median(mebibytes):.0f}"])
    print(table(["on the meta device", "parameters", "seconds", "MiB"], rows))
    return record


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=100, help="steps that every side takes")
    options.add_argument("--repeats", type=int, default=3, help="processes that look at each large model")
    chosen = options.parse_args()
    record = {"rounds": chosen.rounds, "training": steps(chosen.rounds)}
    print()
    record["on the meta device"] = large(chosen.repeats)
    record["load"] = os.getloadavg()[0]
    print(f"\nWrote {write('scale', record)}")


if __name__ == "__main__":
    main()
