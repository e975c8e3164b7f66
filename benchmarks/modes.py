"""Measure the mode blocks and the guard against code written by hand. One thread, sides interleaved.

Run `python benchmarks/modes.py`; it prints the figures and writes them to `benchmarks/results`.
"""

from __future__ import annotations

import gc
import json
import platform
import random
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from harness import CONTROL, UNTIMED, blas, processor
from torch import nn
from torch.utils.benchmark import Timer

from tinynets.modes import evaluating, frozen, guard, inference, training

REPEATS = 25
SECONDS = 0.04  # of one repeat of one side
BY_HAND = "1,000 modules, m.eval(); m.train()"


def thousand_modules() -> nn.Module:
    """Return a root with 333 blocks of a linear layer and a dropout: 1,000 modules."""
    return nn.Sequential(*[nn.Sequential(nn.Linear(1, 1), nn.Dropout()) for _ in range(333)])


def inside(context: object) -> None:
    with context:  # pyright: ignore
        pass


def by_hand(model: nn.Module) -> None:
    model.eval()
    model.train()


def sides() -> dict[str, Callable[[], None]]:
    big, small = thousand_modules(), nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    quiet_big = thousand_modules().eval()
    return {
        BY_HAND: lambda: by_hand(big),
        CONTROL: lambda: by_hand(big),
        "1,000 modules, with evaluating(m)": lambda: inside(evaluating(big)),
        "1,000 modules, with inference(m)": lambda: inside(inference(big)),
        "1,000 modules, with training(m), already training": lambda: inside(training(big)),
        "1,000 modules, with evaluating(m), already eval": lambda: inside(evaluating(quiet_big)),
        "1,000 modules, with frozen(m)": lambda: inside(frozen(big)),
        "3 modules, m.eval(); m.train()": lambda: by_hand(small),
        "3 modules, with evaluating(m)": lambda: inside(evaluating(small)),
        "3 modules, with inference(m)": lambda: inside(inference(small)),
    }


def guard_timers(entered: nn.Module) -> dict[str, Timer]:
    """Time the guard alone, as the generated forward calls it, and an empty function for comparison."""
    plain = nn.Sequential(nn.Linear(1, 1), nn.Dropout()).eval()
    big = thousand_modules().eval()
    setup = {"guard": guard, "empty": lambda module: None}
    return {
        "empty function": Timer("empty(m)", globals={**setup, "m": plain}),
        "guard, entered through inference(m)": Timer("guard(m)", globals={**setup, "m": entered}),
        "guard, raw inference_mode, 3 modules in eval": Timer("guard(m)", globals={**setup, "m": plain}),
        "guard, raw inference_mode, 1,000 modules in eval": Timer("guard(m)", globals={**setup, "m": big}),
    }


def measure() -> dict[str, list[float]]:
    """Return microseconds per side and repeat; each repeat runs every side once, in a different order."""
    entered = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    timers = {name: Timer("f()", globals={"f": run}) for name, run in sides().items()} | guard_timers(entered)
    with evaluating(entered):  # marks the mode as chosen on purpose, as tn.inference does
        numbers = {name: max(1, int(SECONDS / timer.timeit(1).median)) for name, timer in timers.items()}
        for name, timer in timers.items():
            numbers[name] = max(1, int(SECONDS / timer.timeit(min(numbers[name], 1000)).median))
        gc.disable()
        found: dict[str, list[float]] = {name: [] for name in timers}
        shuffled = random.Random(0)
        for _ in range(REPEATS):
            for name in shuffled.sample(list(timers), len(timers)):
                timers[name].timeit(UNTIMED)
                found[name].append(timers[name].timeit(numbers[name]).median * 1e6)
        gc.enable()
    return found


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:10.3f} us  [{low:.3f}, {high:.3f}]"


def ratio(found: dict[str, list[float]], name: str, base: str) -> str:
    each = [ours / theirs for ours, theirs in zip(found[name], found[base], strict=True)]
    low, middle, high = statistics.quantiles(each, n=4)
    return f"{middle:.2f}x [{low:.2f}, {high:.2f}]"


def main() -> None:
    torch.set_num_threads(1)
    found = measure()
    machine = {
        "machine": platform.machine(),
        "cpu": processor(),
        "blas": blas(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "repeats": REPEATS,
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()), "\nmedian [quartiles]")
    for name, values in found.items():
        print(f"{name:52} {spread(values)}")
    ratios = {
        name: ratio(found, name, BY_HAND)
        for name in found
        if name == CONTROL or (name.startswith("1,000") and "with" in name)
    } | {
        name: ratio(found, name, "3 modules, m.eval(); m.train()")
        for name in found
        if name.startswith("3 ") and "with" in name
    }
    print("\nratio to m.eval(); m.train(), repeat by repeat")
    for name, text in ratios.items():
        print(f"{name:52} {text}")
    version = ".".join(torch.__version__.split(".")[:2])
    path = Path(__file__).parent / "results" / f"modes_cpu_torch{version}.json"
    path.parent.mkdir(exist_ok=True)
    rounded = {name: [round(value, 4) for value in values] for name, values in found.items()}
    path.write_text(json.dumps({**machine, "microseconds": rounded, "ratios": ratios}, indent=1) + "\n")
    print(f"\nwritten to {path.relative_to(Path(__file__).parents[1])}")


if __name__ == "__main__":
    main()
