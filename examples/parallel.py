"""One model on several processes: replicated by DDP or sharded by FSDP2, in mixed precision, recomputed."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import torch
import torch.distributed as dist
from common import ScriptError
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from tinynets.models import ImageClassifier

STRATEGIES = ("ddp", "fsdp")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@contextmanager
def process_group() -> Iterator[torch.device]:
    """Join the processes that torchrun started, yield the device, and name the rank in errors.

    Raises:
        ScriptError: torchrun did not start this process, or there are too few GPUs.
    """
    device = _join()
    whole = False
    try:
        yield device
        whole = True
    except Exception as error:
        error.add_note(f"on rank {dist.get_rank()} of {dist.get_world_size()}")
        # A ScriptError comes on all processes alike. After any other, the rest are waiting for this one until
        # torchrun ends them, and a group that is not whole cannot be left in order.
        whole = isinstance(error, ScriptError)
        if whole:
            traceback.clear_frames(error.__traceback__)
        raise
    finally:
        if whole:
            # A thread of the group that frees a tensor wants Python's lock. Where it waits for that when the
            # group or the interpreter ends, the process hangs or aborts (pytorch/pytorch#56297). So what
            # holds the group goes first, the frames of an error included, and the last work is a barrier.
            gc.collect()
            dist.barrier()
            dist.destroy_process_group()


def report(error: Exception) -> None:
    """Print an error in one line, with the rank if there is one."""
    print(": ".join(["error", *getattr(error, "__notes__", ()), str(error)]), file=sys.stderr, flush=True)


def _join() -> torch.device:
    """Join the processes that torchrun started, over NCCL where there are GPUs; return this one's device."""
    if "LOCAL_RANK" not in os.environ:
        raise ScriptError("not started by torchrun: torchrun --standalone --nproc-per-node 2 SCRIPT")
    if not torch.cuda.is_available():
        _init("gloo")
        return torch.device("cpu")
    processes, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if processes > gpus:
        raise ScriptError(
            f"{processes} processes on this machine, which has {gpus} GPU(s): pass --nproc-per-node {gpus},"
            " or hide the GPUs with CUDA_VISIBLE_DEVICES="
        )
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    _init("nccl", device)
    return device


def _init(backend: str, device: torch.device | None = None) -> None:
    # torchrun keeps one store for all its restarts (torch 2.13, 2.14), in which new processes would find
    # the addresses of the dead ones. Hence a part of the store for each attempt.
    store, rank, world = next(dist.rendezvous("env://"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"attempt-{attempt}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, device_id=device)


def refuse_batch_norm(model: ImageClassifier, name: str) -> None:
    """Refuse a model whose statistics would depend on how many processes share a batch."""
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise ScriptError(
            f"{name} has batch normalisation: its statistics would be those of a share of the batch. "
            "Take a model without, such as simple_vit, or put in nn.SyncBatchNorm, which needs GPUs"
        )


def recompute_stages(model: ImageClassifier, name: str) -> None:
    """Keep only what enters each stage of the model; the backward pass computes the rest once more."""
    if not model.stages:
        raise ScriptError(f"{name} has no stages to recompute: leave --activation-checkpointing away")
    for stage in model.stages:
        parent, _, child = stage.name.rpartition(".")
        module = model.get_submodule(stage.name)
        model.get_submodule(parent).register_module(child, checkpoint_wrapper(module))


def distribute(model: ImageClassifier, strategy: str, precision: str, device: torch.device) -> nn.Module:
    """Replicate or shard a model that is the same on every process.

    What comes back divides gradients by the number of processes. Make the optimizer after this call: sharded
    parameters are new objects.
    """
    if strategy == "ddp":
        return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)
    # In bfloat16, weights are gathered and used as such; they are kept, and gradients summed, in float32.
    mixed = precision == "bfloat16"
    inner = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if mixed else MixedPrecisionPolicy()
    for stage in model.stages:  # each is gathered when it is its turn, and freed after
        fully_shard(model.get_submodule(stage.name), mp_policy=inner)
    outer = replace(inner, output_dtype=torch.float32) if mixed else inner  # for the loss
    return fully_shard(model, mp_policy=outer)


def casting(strategy: str, precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of a forward pass: autocast where FSDP's own policy does not cast."""
    mixed = precision == "bfloat16" and strategy == "ddp"
    return torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext()


def accumulating(model: nn.Module, *, last: bool) -> AbstractContextManager[object]:
    """Return the context of one micro-batch: gradients are exchanged in the last one only."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
        return nullcontext()
    assert isinstance(model, DistributedDataParallel)
    return nullcontext() if last else model.no_sync()
