"""Start several processes on one machine from Python, quietly, with the API behind torchrun."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

# Imported by the fork server, from which all processes are forked, restarted ones too. The first step of an
# optimizer would import torch._dynamo in each of them.
IMPORTED_ONCE = [
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint.state_dict",
    "torch.distributed.launcher.api",
    "torch._dynamo",
    "tinynets.models",
]
Main = Callable[[Sequence[str]], int]


def launch(main: Main, arguments: Sequence[str], *, processes: int, restarts: int) -> int:
    """Run `main(arguments)` on several processes of this machine, and return their highest exit code.

    If `main` returns, the run is over, even if the code is not 0: that is an error that a restart would hit
    again, such as a full disk. After an exception, or if a process was killed, all of them are restarted.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    for name in ("torch.distributed.elastic", "torch.multiprocessing.spawn"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    multiprocessing.set_forkserver_preload(IMPORTED_ONCE)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="launch",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=restarts,
        start_method="forkserver",
    )
    try:
        codes: dict[int, int] = elastic_launch(config, _work)(main, list(arguments))
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode < 0:
            ended_by = signal.Signals(-failure.exitcode).name
            print(f"error: rank {rank} was ended by {ended_by}", file=sys.stderr)
        return 1  # otherwise the process itself has printed why
    except SignalException as stop:
        print(f"ended by {signal.Signals(stop.sigval).name}", file=sys.stderr)
        return 128 + stop.sigval  # the exit code of a shell
    return max(codes.values())


def _work(main: Main, arguments: Sequence[str]) -> int:
    attempt, most = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["TORCHELASTIC_MAX_RESTARTS"]
    if attempt != "0" and os.environ["RANK"] == "0":
        print(f"note: a process failed, so all were started again ({attempt} of {most})", file=sys.stderr)
    try:
        return main(arguments)
    except Exception:
        sys.excepthook(*sys.exc_info())  # torch's hook, which names the rank
        raise SystemExit(1) from None
