"""What processes do that fail: WORK FOLDER OPTIONS. `start_failing_work.py` starts them.

All of them train as the script does; a piece of work says what goes wrong, where, and once.
"""

from __future__ import annotations

import itertools
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import checkpoints
import processes
import resume
import train_distributed
from data import Data
from few_digits import digits, prepare, settings


def killed(folder: Path) -> None:
    """Rank 1 dies for good in the middle of a file of the second checkpoint, the first time that it comes there.

    The second attempt writes down which checkpoints the first has left.
    """
    rank, attempt = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
    if (rank, attempt) == ("0", "1"):
        (folder / "left").write_text(" ".join(sorted(os.listdir(folder / "checkpoints"))))
    if (rank, attempt) == ("1", "0"):
        write, written = checkpoints.write_whole, itertools.count()

        def die(path: Path, content: bytes) -> None:
            if next(written):
                path.write_bytes(content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(path, content)

        checkpoints.write_whole = die


def killed_anywhere(folder: Path) -> None:
    """In each attempt but the last, one process dies at some moment within a second or two."""
    attempt, most = (int(os.environ[f"TORCHELASTIC_{name}"]) for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    chance = random.Random(f"{folder.name} {attempt}")
    rank, seconds = chance.randrange(int(os.environ["WORLD_SIZE"])), chance.uniform(0, 2)

    def die() -> None:
        time.sleep(seconds)
        (folder / f"killed-{attempt}").write_text(f"rank {rank} after {seconds:.3f} s")
        os.kill(os.getpid(), signal.SIGKILL)

    if attempt < most and rank == int(os.environ["RANK"]):
        threading.Thread(target=die, daemon=True).start()


def stopped(folder: Path) -> None:
    """Rank 1 stops before the second checkpoint, and leaves its number so that the test can let it go."""
    save = resume.Run.save
    processes.GRACE = 3.0

    def stop(run: resume.Run, step: int) -> None:
        if step == 6 and os.environ["RANK"] == "1":
            (folder / "pid").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        save(run, step)

    resume.Run.save = stop


def full(folder: Path) -> None:
    """From the second checkpoint on, rank 1 cannot write more than a kilobyte into a file."""
    save = resume.Run.save

    def fill(run: resume.Run, step: int) -> None:
        if step == 6 and os.environ["RANK"] == "1":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        save(run, step)

    resume.Run.save = fill


def refused(folder: Path) -> None:
    """Rank 1 has images in colour."""
    if os.environ["RANK"] == "1":
        few = digits(seed=0)
        few = Data(few.train_images.repeat(1, 3, 1, 1), *list(vars(few).values())[1:])
        train_distributed.load_digits = lambda *, seed: few


def twice(folder: Path) -> None:
    """Try to go on with what another number of processes began; then insist."""
    assert train_distributed.main(settings(folder)) == 1
    sys.argv.append("--reshard")


WORK = {
    "nothing": lambda folder: None,
    "killed": killed,
    "killed_anywhere": killed_anywhere,
    "stopped": stopped,
    "full": full,
    "refused": refused,
    "twice": twice,
}


def main(arguments: Sequence[str]) -> int:
    sys.argv[1:] = arguments
    work, folder = arguments[0], Path(arguments[1])
    prepare()
    WORK[work](folder)
    return train_distributed.main(settings(folder))
