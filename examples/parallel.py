"""Distribute a model: DDP or FSDP2, mixed precision, activation checkpointing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from script_error import ScriptError
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

import tinynets as tn
from tinynets.models import ImageClassifier

STRATEGIES = ("ddp", "fsdp")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def refuse_batch_norm(model: ImageClassifier, name: str) -> None:
    """Reject a model whose statistics would depend on how many processes share a batch."""
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise ScriptError(
            f"{name} has batch normalisation: its statistics would be those of a share of the batch. "
            "Take a model without, such as simple_vit, or put in nn.SyncBatchNorm, which needs GPUs"
        )


def recompute_stages(model: ImageClassifier, name: str) -> None:
    """Save only the input of each stage of the model; the backward pass recomputes the rest."""
    if not model.stages:
        raise ScriptError(f"{name} has no stages to recompute: leave --activation-checkpointing away")
    for stage in model.stages:
        parent, _, child = stage.name.rpartition(".")
        module = model.get_submodule(stage.name)
        model.get_submodule(parent).register_module(child, checkpoint_wrapper(module))


def distribute(model: ImageClassifier, strategy: str, precision: str, device: torch.device) -> nn.Module:
    """Replicate or shard a model that is the same on every process.

    The returned module divides gradients by the number of processes. Build the optimizer after this call:
    sharded parameters are new objects.
    """
    if strategy == "ddp":
        return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)
    # Weights are stored, and gradients summed, in float32; weights are gathered and used in bfloat16.
    mixed = precision == "bfloat16"
    inner = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if mixed else MixedPrecisionPolicy()
    for stage in model.stages:  # each is gathered when it runs, and freed afterwards
        fully_shard(model.get_submodule(stage.name), mp_policy=inner)
    outer = replace(inner, output_dtype=torch.float32) if mixed else inner  # for the loss
    return fully_shard(model, mp_policy=outer)


def settle(model: nn.Module, images: Tensor) -> None:
    """Make DDP choose its final order of gradients now, which it otherwise does after the first step.

    In a sum over three or more processes, rounding depends on the position of a gradient in this order. So
    the first step of a resumed run would differ from the same step of an uninterrupted run.
    """
    if isinstance(model, DistributedDataParallel):
        with tn.training(model):
            model(images[:0]).sum().backward()
        model.zero_grad()


def casting(strategy: str, precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of a forward pass: autocast, unless FSDP's own policy casts."""
    mixed = precision == "bfloat16" and strategy == "ddp"
    return torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext()


def accumulating(model: nn.Module, *, last: bool) -> AbstractContextManager[object]:
    """Return the context of one micro-batch: gradients are synchronized only in the last one."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
        return nullcontext()
    assert isinstance(model, DistributedDataParallel)
    return nullcontext() if last else model.no_sync()
