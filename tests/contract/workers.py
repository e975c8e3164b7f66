"""What each of two processes does in the distributed tests; importable by a spawned process."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

import tinynets as tn

from .models import CASES, Case


def run(rank: int, world: int, file: str) -> None:
    """Join the group and do all the work with each model; what it raises, the parent process raises."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    try:
        for work, case in itertools.product((data_parallel, fully_sharded, global_shapes), CASES.values()):
            torch.manual_seed(0)
            work(case, rank)
        # Nothing of the work may outlive the group, or torch's threads can abort the process at its exit.
        gc.collect()
        dist.barrier()
    finally:
        dist.destroy_process_group()


def assert_refuses(call: Callable[[Any], Any], images: Any, match: str) -> None:
    with pytest.raises(tn.ShapeError, match=match) as caught:
        call(images)
    assert caught.value.module_path == ""


def data_parallel(case: Case, rank: int) -> None:
    """Each rank has a batch of its own; a refusal on all ranks leaves the group usable."""
    model = case.make()
    wrapped = DistributedDataParallel(model)
    for _ in range(2):
        wrapped(case.valid(2 + rank)).sum().backward()
        assert_refuses(wrapped, case.invalid(2 + rank), case.refusal)
    gradient = next(model.parameters()).grad
    assert gradient is not None
    others = [torch.empty_like(gradient) for _ in range(2)]
    dist.all_gather(others, gradient)
    torch.testing.assert_close(others[0], others[1])


def fully_sharded(case: Case, rank: int) -> None:
    """FSDP2 swaps the class of a module for one that is made on the fly; its contract goes with it."""
    model = case.make()
    plain = case.make()
    plain.load_state_dict(model.state_dict())
    mesh = init_device_mesh("cpu", (2,))
    for child in model.children():
        if not isinstance(child, nn.ModuleList):
            fully_shard(child, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.eval()
    images = case.valid(2 + rank)
    torch.testing.assert_close(model(images), plain.eval()(images))
    model(images).sum().backward()
    assert_refuses(model, case.invalid(2 + rank), r"axis 1 is \d+, expected \d")
    torch.testing.assert_close(model(images), plain(images))


def global_shapes(case: Case, rank: int) -> None:
    """A DTensor is judged by its global shape, which is what `x.shape` says on every rank."""
    mesh = init_device_mesh("cpu", (2,))
    model = case.make().eval()
    plain = case.make().eval()
    plain.load_state_dict(model.state_dict())
    distribute_module(model, mesh)
    images = case.valid(4)
    dist.broadcast(images, 0)
    split = distribute_tensor(images, mesh, [Shard(0)])
    assert split.to_local().shape[0] == 2
    logits = model(split)
    assert isinstance(logits, DTensor)
    assert logits.shape[0] == 4
    torch.testing.assert_close(logits.full_tensor(), plain(images))

    wrong = distribute_tensor(case.invalid(4), mesh, [Replicate()])
    assert_refuses(model, wrong, case.refusal)
