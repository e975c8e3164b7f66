"""Several processes that act as one: started together, of one mind about errors, and not waiting for ever."""

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
from common import ScriptError
from torch.distributed import Store

import tinynets as tn

TIMEOUT = 60.0  # seconds; no process of a healthy run comes so late
GRACE = 10.0  # seconds between the first process that gives up waiting and the last
T = TypeVar("T")


@contextmanager
def process_group(timeout: float = TIMEOUT) -> Iterator[torch.device]:
    """Be one of the processes that torchrun or `launch` started, on the device given; errors say which.

    Args:
        timeout: seconds to wait for another process. Then one of those that waited says which did not answer,
            and they end.

    Raises:
        ScriptError: nothing started this process, or there are too few GPUs.
    """
    device = _device()
    # torchrun keeps one store for all its restarts (torch 2.13, 2.14), in which new processes would find
    # the addresses of the dead ones. Hence a part of the store for each attempt.
    kept, rank, world = next(dist.rendezvous("env://"))
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    if kept.check(["over"]) and int(kept.get("over")) < attempt:
        raise SystemExit(1)  # torchrun starts all again, whatever it was; the first attempt has said it
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
        except ScriptError:  # would come again
            kept.set("over", str(attempt))
            raise


def _device() -> torch.device:
    """Return what this process computes on: its GPU, where there are any."""
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
    """Leave the group as a whole, and note in an error which process it comes from."""
    try:
        yield
    except ScriptError as error:  # comes on all processes alike
        traceback.clear_frames(error.__traceback__)
        _leave()
        raise
    except Exception as error:
        # The rest are waiting for this process until they are ended: no group to be left in order.
        error.add_note(f"on rank {rank} of {world}")
        raise
    _leave()


def _leave() -> None:
    # A thread of the group that frees a tensor wants Python's lock. Where it waits for that when the group or
    # the interpreter ends, the process hangs or aborts (pytorch/pytorch#56297). So what holds the group goes
    # first, the frames of an error included, and the last work is a barrier.
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


@contextmanager
def _naming_the_silent(store: Store, rank: int, world: int, timeout: float) -> Iterator[None]:
    """Where waiting for others fails, find out who does not say so too, and end with one line about them."""
    try:
        yield
    except ScriptError:
        raise
    except Exception as error:
        store.set(f"failed-{rank}", "")
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise  # an error of its own
        silent, until = set(range(world)) - {rank}, time.monotonic() + GRACE
        while silent and time.monotonic() < until:
            silent = {other for other in silent if not store.check([f"failed-{other}"])}
            time.sleep(0.1)
        if not silent:
            time.sleep(GRACE)  # the one whose error it is says it and goes, and then this one is ended
            raise
        if store.add("told", 1) == 1:
            names = ", ".join(f"rank {other} ({_process(store, other)})" for other in sorted(silent))
            told = f"{names} did not answer (--timeout {timeout:g}): stopped, stuck, gone or cut off"
            print(f"error: on rank {rank} of {world}: {told}", file=sys.stderr, flush=True)
        else:  # the first to go has all others ended, so let that be the one that tells
            time.sleep(GRACE)
        os._exit(1)  # on its way out, Python would wait for the group once more


def _process(store: Store, rank: int) -> str:
    known = store.check([f"process-{rank}"])
    return store.get(f"process-{rank}").decode() if known else "never seen"


def exchange(value: Any) -> list[Any]:
    """Give all processes what each has to say, by rank. It travels as JSON, so nothing that runs."""
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
    """Do work on every process and return what each of them has, by rank, as JSON gives it back.

    Raises:
        ScriptError: a file could not be written or read on one of them; it comes on all.
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
    """Do work on rank 0 only, and return on every process what it has.

    Raises:
        ScriptError: as `on_all`.
    """
    return on_all(lambda: work() if dist.get_rank() == 0 else None)[0]  # pyright: ignore


def report(error: Exception) -> None:
    """Print an error in one line, with the rank if there is one; what all processes have, on the first."""
    if isinstance(error, ScriptError) and os.environ.get("RANK", "0") != "0":
        return
    print(": ".join(["error", *getattr(error, "__notes__", ()), str(error)]), file=sys.stderr, flush=True)
