"""Starting processes without torchrun: what comes back, what is said, and that nobody is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch.distributed as dist

from .groups import run_group, start_group

WORK = Path(__file__).with_name("launch_work.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(not dist.is_gloo_available(), reason="needs gloo"),
]


def command(work: str, restarts: int, folder: Path) -> list[str]:
    return [sys.executable, str(WORK), work, str(restarts), str(folder)]


def test_the_highest_exit_code_of_a_process_comes_back_and_is_the_end(tmp_path: Path) -> None:
    run = run_group(command("returns", 1, tmp_path))
    assert (run.returncode, run.stdout, run.stderr) == (2, "", "")
    assert sorted(os.listdir(tmp_path)) == ["0-0", "0-1", "0-2"]


def test_after_an_exception_all_are_started_again(tmp_path: Path) -> None:
    run = run_group(command("raises", 1, tmp_path))
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("Traceback (most recent call last)") == 1
    assert "ValueError: this time only\n" in run.stderr
    assert run.stderr.endswith("note: a process failed, so all were started again (1 of 1)\n")
    assert "1-2" in os.listdir(tmp_path)


def test_without_restarts_it_says_what_ended_a_process(tmp_path: Path) -> None:
    run = run_group(command("killed", 0, tmp_path))
    assert (run.returncode, run.stdout, run.stderr) == (1, "", "error: rank 1 was ended by SIGKILL\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_of_them(tmp_path: Path, number: signal.Signals) -> None:
    folder, said = tmp_path / "pids", tmp_path / "stderr"
    folder.mkdir()
    with (
        said.open("w") as stderr,
        start_group(command("sleeps", 1, folder), stdout=subprocess.DEVNULL, stderr=stderr) as process,
    ):
        until = time.monotonic() + 300
        while len(os.listdir(folder)) < 3 and time.monotonic() < until:
            time.sleep(0.1)
        process.send_signal(number)
        process.wait(timeout=100)
        assert (process.returncode, said.read_text()) == (128 + number, f"ended by {number.name}\n")
        left = [int(path.read_text()) for path in folder.iterdir()]
        while (
            any(map(psutil.pid_exists, left)) and time.monotonic() < until
        ):  # until the fork server has noticed
            time.sleep(0.05)
        assert not any(map(psutil.pid_exists, left))
