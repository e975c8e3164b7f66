"""Start scripts on several processes, and leave none of them behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .conftest import EXAMPLES

WORK = Path(__file__).parent / "distributed_work.py"
FAILING_WORK = WORK.with_name("start_failing_work.py")
OVER_WORK = WORK.with_name("over_work.py")
Output = int | IO[str]


def run_group(command: list[str], *, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    """Run a command, and end what it has left running when it is over, or the time is.

    The output goes to files: a pipe has no end until the fork server, which prints nothing, has taken a second to leave
    torch. Whoever prints has ended when the launcher does.
    """
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as errors:
        with start_group(command, stdout=printed, stderr=errors) as process:
            try:
                process.wait(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.terminate()  # torchrun takes its workers along: they have sessions of their own
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)
                raise
        printed.seek(0)  # moves the position of whoever still writes, so nobody does
        errors.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, printed.read(), errors.read())


@contextlib.contextmanager
def start_group(command: list[str], *, stdout: Output, stderr: Output) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a session of its own, and kill all of the session in the end."""
    environment = {
        **os.environ,
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]),
    }
    with subprocess.Popen(
        command, stdout=stdout, stderr=stderr, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def torchrun(
    processes: int, *arguments: object, restarts: int = 0, script: Path = WORK
) -> subprocess.CompletedProcess[str]:
    """Run a script as `torchrun` does, with a rendezvous at a free port."""
    torch_run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    sizes = ["--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    return run_group([*torch_run, *sizes, str(script), *map(str, arguments)])


def launched(processes: int, *arguments: object, restarts: int = 0) -> list[str]:
    """Return the command that starts what fails, as the script starts its processes itself."""
    return [sys.executable, *map(str, (FAILING_WORK, processes, restarts, *arguments))]
