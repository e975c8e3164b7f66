"""Start the processes of one machine from Python, with what torchrun is made of, and quietly."""

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

# By the process that all others are forked from, restarted ones too; optimizers import torch._dynamo.
IMPORTED_ONCE = ["torch.distributed.fsdp", "torch._dynamo", "tinynets", "matplotlib.figure"]
Main = Callable[[Sequence[str]], int]


def launch(main: Main, arguments: Sequence[str], *, processes: int, restarts: int) -> int:
    """Run `main(arguments)` on several processes of this machine, and return the exit code of all together.

    What `main` returns is the end, also where it is not 0: an error that a restart would meet again, such
    as a full disk. After an exception, or when a process was killed, all of them are started again.
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
        return 1  # any other has said why
    except SignalException as stop:
        print(f"ended by {signal.Signals(stop.sigval).name}", file=sys.stderr)
        return 128 + stop.sigval  # what a shell reports
    return max(codes.values())


def _work(main: Main, arguments: Sequence[str]) -> int:
    attempt, most = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["TORCHELASTIC_MAX_RESTARTS"]
    if attempt != "0" and os.environ["RANK"] == "0":
        print(f"note: a process failed, so all were started again ({attempt} of {most})", file=sys.stderr)
    try:
        return main(arguments)
    except Exception:
        sys.excepthook(*sys.exc_info())  # torch's, which names the rank
        raise SystemExit(1) from None
