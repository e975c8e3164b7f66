"""Measure what `import tinynets` adds to `import torch`, in fresh interpreters that take turns."""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys

from harness import Spread, table, write

# As for an installed package: the first import writes the bytecode, and later ones read it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def processor_seconds(module: str) -> float:
    """Return the CPU time of an interpreter that starts, imports the module and exits."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cumulative_seconds(module: str) -> dict[str, float]:
    """Import torch, then the module, under `-X importtime`; return the cumulative seconds of each module."""
    command = [sys.executable, "-X", "importtime", "-c", f"import torch, {module}"]
    log = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT).stderr
    rows = re.findall(r"^import time: +\d+ \| +(\d+) \| +([\w.]+)$", log, re.MULTILINE)
    return {name: int(microseconds) / 1e6 for microseconds, name in rows}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15)
    rounds = options.parse_args().rounds

    processor_seconds("tinynets")  # the first import after an install compiles and reads from disk
    torch, tinynets, added, inside = [], [], [], []
    for turn in range(rounds):
        order = ["torch", "tinynets"] if turn % 2 else ["tinynets", "torch"]
        seconds = {module: processor_seconds(module) for module in order}
        torch.append(seconds["torch"])
        tinynets.append(seconds["tinynets"])
        added.append(seconds["tinynets"] / seconds["torch"] - 1)
        cumulative = cumulative_seconds("tinynets")
        inside.append(cumulative["tinynets"] / cumulative["torch"])

    figures = {
        "import torch [s]": Spread.of(torch),
        "import tinynets [s]": Spread.of(tinynets),
        "added, two processes [%]": Spread.of(added).scaled(100),
        "added, inside one process [%]": Spread.of(inside).scaled(100),
    }
    print(f"Medians and quartiles of {rounds} rounds; the bar is 10 %.\n")
    print(
        table(
            ["import time", "median (quartiles)"], [[name, value.text(2)] for name, value in figures.items()]
        )
    )
    print(f"\nWrote {write('import_time', {name: value.record() for name, value in figures.items()})}")


if __name__ == "__main__":
    main()
