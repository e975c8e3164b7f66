"""Several processes that act as one: a process group with a timeout, collective calls and common errors."""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from script_error import ScriptError
from torch.distributed import Store

import tinynets as tn

TIMEOUT = 60.0  # seconds; longer than any process of a healthy run takes
GRACE = 10.0  # seconds between the first process that gives up waiting and the last
T = TypeVar("T")


@contextmanager
def process_group(timeout: float = TIMEOUT) -> Iterator[torch.device]:
    """Join the process group of torchrun or `launch`, and yield this process's device; errors name the rank.

    Args:
        timeout: seconds to wait for another process. After that, one of the waiting processes reports which
            one did not answer, and all exit.

    Raises:
        ScriptError: nothing started this process, or there are too few GPUs.
    """
    device = _device()
    # torchrun keeps one store for all its restarts (torch 2.13, 2.14), in which new processes would find
    # the addresses of the dead ones. So each attempt uses its own prefix.
    kept, rank, world = next(dist.rendezvous("env://"))
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if kept.check(["over"]) and int(kept.get("over")) < attempt:
        raise SystemExit(1)  # torchrun restarts after any error; the first attempt has reported it
    store = dist.PrefixStore(f"attempt-{attempt}", kept)
    store.set(f"process-{rank}", f"process {os.getpid()} on {socket.gethostname()}")
    with _naming_the_silent(store, rank, world, timeout), _left_in_order(rank, world):
        dist.init_process_group(
            "gloo" if device.type == "cpu" else "nccl",
            store=store,
            rank=rank,
            world_size=world,
            timeout=timedelta(seconds=timeout),
            device_id=None if device.type == "cpu" else device,
        )
        try:
            yield device
        except ScriptError:  # would happen again
            kept.set("over", str(attempt))
            raise


def _device() -> torch.device:
    """Return the device of this process: its GPU if there are any, else the CPU."""
    if "LOCAL_RANK" not in os.environ:
        raise ScriptError("not started by torchrun: torchrun --standalone --nproc-per-node 2 SCRIPT")
    if not torch.cuda.is_available():
        return torch.device("cpu")
    processes, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if processes > gpus:
        raise ScriptError(
            f"{processes} processes on this machine, which has {gpus} GPU(s): pass --nproc-per-node {gpus},"
            " or hide the GPUs with CUDA_VISIBLE_DEVICES="
        )
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


@contextmanager
def _left_in_order(rank: int, world: int) -> Iterator[None]:
    """Leave the group together with the other processes, and add the rank to errors."""
    try:
        yield
    except ScriptError as error:  # raised on all processes
        traceback.clear_frames(error.__traceback__)
        _leave()
        raise
    except Exception as error:
        # The other processes wait for this one until they are killed, so there is no barrier to join.
        error.add_note(f"on rank {rank} of {world}")
        raise
    _leave()


def _leave() -> None:
    # A thread of the group needs the GIL to free a tensor. If it waits for the GIL while the group or the
    # interpreter shuts down, the process hangs or aborts (pytorch/pytorch#56297). So free everything that
    # references the group first, including the frames of an error, and make a barrier the last collective.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


@contextmanager
def _naming_the_silent(store: Store, rank: int, world: int, timeout: float) -> Iterator[None]:
    """If waiting for others fails, find the processes that do not report it too, and exit naming them."""
    try:
        yield
    except ScriptError:
        raise
    except Exception as error:
        store.set(f"failed-{rank}", "")
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise  # an error of this process
        silent, until = set(range(world)) - {rank}, time.monotonic() + GRACE
        while silent and time.monotonic() < until:
            silent = {other for other in silent if not store.check([f"failed-{other}"])}
            time.sleep(0.1)
        if not silent:
            time.sleep(GRACE)  # the process that failed reports its error and exits; then this one is killed
            raise
        if store.add("told", 1) == 1:
            names = ", ".join(f"rank {other} ({_process(store, other)})" for other in sorted(silent))
            told = f"{names} did not answer (--timeout {timeout:g}): stopped, stuck, gone or cut off"
            print(f"error: on rank {rank} of {world}: {told}", file=sys.stderr, flush=True)
        else:  # once one process exits, all others are killed, so let the reporting one exit first
            time.sleep(GRACE)
        os._exit(1)  # a normal exit of Python would wait for the group again


def _process(store: Store, rank: int) -> str:
    known = store.check([f"process-{rank}"])
    return store.get(f"process-{rank}").decode() if known else "never seen"


def exchange(value: Any) -> list[Any]:
    """Gather a value from every process, by rank. Values are sent as JSON, which cannot run code."""
    device = torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
    said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(device)
    size = torch.tensor([len(said)], device=device)
    sizes = [torch.empty_like(size) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, size)
    padded = F.pad(said, (0, int(max(sizes)) - len(said)))
    heard = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(heard, padded)
    return [json.loads(bytes(all_of[:size].tolist())) for all_of, size in zip(heard, sizes, strict=True)]


def on_all(work: Callable[[], T]) -> list[T]:
    """Do work on every process, and return the results of all by rank, after a round trip through JSON.

    Raises:
        ScriptError: a file could not be written or read on one of them; raised on all.
    """
    try:
        mine = {"done": work()}
    except (OSError, tn.CheckpointError) as error:
        mine = {"failed": str(error)}
    everyone = exchange(mine)
    for rank, theirs in enumerate(everyone):
        if "failed" in theirs:
            raise ScriptError(f"on rank {rank}: {theirs['failed']}")
    return [theirs["done"] for theirs in everyone]


def on_first(work: Callable[[], T]) -> T:
    """Do work on rank 0 only, and return its result on every process.

    Raises:
        ScriptError: as `on_all`.
    """
    return on_all(lambda: work() if dist.get_rank() == 0 else None)[0]  # pyright: ignore


def report(error: Exception) -> None:
    """Print an error in one line, with its rank if it has one; rank 0 prints errors common to all."""
    if isinstance(error, ScriptError) and os.environ.get("RANK", "0") != "0":
        return
    print(": ".join(["error", *getattr(error, "__notes__", ()), str(error)]), file=sys.stderr, flush=True)
