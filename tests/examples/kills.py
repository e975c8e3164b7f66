"""Kill processes at random moments until they have died often enough: `python -m tests.examples.kills 2 30`."""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .groups import launched, run_group

# Many steps, and a checkpoint after every second: most moments are in the middle of one.
OPTIONS = ["--model", "tiny_vision_mlp", "--accumulate", 2, "--epochs", 60, "--save-every", 2]


def killed_runs(
    folder: Path,
    *,
    processes: int,
    kills: int,
    strategies: Sequence[str] = ("ddp", "fsdp"),
    restarts: int = 3,
) -> int:
    """Train once in peace, then with kill -9 at random, to the same bits; return how often a process died."""
    left, expected = kills, {}
    for strategy in itertools.cycle(strategies):
        if strategy not in expected:
            expected[strategy] = trained(folder / strategy, strategy, processes)
        out = folder / f"{processes}-{strategy}-{left}"
        assert trained(out, strategy, processes, restarts=min(left, restarts)) == expected[strategy], out
        died = [path.read_text() for path in sorted(out.glob("killed-*"))]
        print(f"{out.name}: the same bits; killed: {', '.join(died) or 'none'}", flush=True)
        left -= len(died)
        if left <= 0:
            return kills - left


def trained(out: Path, strategy: str, processes: int, *, restarts: int = 0) -> tuple[bytes, bytes]:
    """Train, and let processes die as often as restarts allow; return losses and weights."""
    out.mkdir()
    command = launched(processes, "killed_anywhere", out, *OPTIONS, "--strategy", strategy, restarts=restarts)
    run = run_group(command, timeout=1200)
    assert run.returncode == 0, run.stderr
    return (out / "losses.json").read_bytes(), (out / "weights.safetensors").read_bytes()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        died = killed_runs(Path(folder), processes=int(sys.argv[1]), kills=int(sys.argv[2]))
        print(f"{died} processes died, 0 differences")
