"""Start scripts on several processes, and leave none of them behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

from .conftest import EXAMPLES

WORK = Path(__file__).parent / "distributed_work.py"
FAILING_WORK = WORK.with_name("failing_work.py")
Output = int | IO[str]


def run_group(command: list[str], *, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    """Run a command and whatever it starts; all of it is killed when the time is over, or the test is."""
    with start_group(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            printed, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun takes its workers along: they have sessions of their own
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, printed, errors)


def start_group(command: list[str], *, stdout: Output, stderr: Output) -> subprocess.Popen[str]:
    """Start a command in a session of its own."""
    environment = {
        **os.environ,
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]),
    }
    return subprocess.Popen(
        command, stdout=stdout, stderr=stderr, text=True, env=environment, start_new_session=True
    )


def torchrun(
    processes: int, *arguments: object, restarts: int = 0, script: Path = WORK
) -> subprocess.CompletedProcess[str]:
    """Run a script as `torchrun` does, with a rendezvous at a free port."""
    torch_run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    sizes = ["--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    return run_group([*torch_run, *sizes, str(script), *map(str, arguments)])


def launched(processes: int, *arguments: object, restarts: int = 0) -> list[str]:
    """Return the command that has the script start its processes itself."""
    work = [FAILING_WORK, *arguments, "--processes", processes, "--restarts", restarts]
    return [sys.executable, *map(str, work)]
