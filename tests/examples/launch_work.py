"""What `launch` starts in its own tests: `launch_work.py WORK RESTARTS FOLDER`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import launch

launch.IMPORTED_ONCE[:] = ["launch"]  # nobody trains here


def main(arguments: Sequence[str]) -> int:
    work, _, folder = arguments
    rank, attempt = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
    (Path(folder) / f"{attempt}-{rank}").write_text(str(os.getpid()))
    if work == "raises" and (rank, attempt) == ("1", "0"):
        raise ValueError("this time only")
    if work == "killed" and rank == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    if work in ("killed", "sleeps"):
        time.sleep(1000)
    return int(rank) if work == "returns" else 0


if __name__ == "__main__":
    raise SystemExit(launch.launch(main, sys.argv[1:], processes=3, restarts=int(sys.argv[2])))
