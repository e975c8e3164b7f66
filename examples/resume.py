"""The state of a distributed run at one step: save it from all processes, and resume after a failure."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from checkpoints import STATE, Checkpoint, Shard, UnusableError, begin, beside, finish, steps, write_shards
from processes import exchange, on_all, on_first
from script_error import ScriptError
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.tensor import DTensor
from torch.distributed.tensor import Shard as ShardedAlong
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

KEPT = 2  # the newest, and one more in case a disk damages the newest
T = TypeVar("T")
Settings = Mapping[str, str | int | float | bool]


class Run:
    """All state that a step changes. With the settings and the step, it determines the rest of the run.

    The order of the images, and everything random, is derived from seed and step, so neither a loader nor a
    random state needs to be saved.

    Args:
        folder: has one folder for each checkpoint; must be on a disk that all processes can access.
        settings: values that must be the same when the run resumes.
        losses: mean loss of every step; filled during the run.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: LRScheduler,
        losses: Tensor,
    ) -> None:
        self.folder, self.settings, self.losses = folder, settings, losses
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.unusable: set[int] = set()

    def save(self, step: int) -> None:
        """Write a complete checkpoint, or none.

        Raises:
            ScriptError: a process could not write, as on a full disk; raised on all processes.
        """
        path = self.folder / f"step-{step}"
        rank, world = dist.get_rank(), dist.get_world_size()
        weights, optimizer = get_state_dict(self.model, self.optimizer)
        tensors = self._tensors(weights, optimizer)
        # Replicated tensors are divided among the processes; shards are written by their own process.
        mine = {
            name: shard_of(tensor)
            for number, (name, tensor) in enumerate(tensors.items())
            if isinstance(tensor, DTensor) or number % world == rank
        }
        state = {"step": step, "settings": dict(self.settings), "values": self._values(optimizer)}
        try:
            on_first(lambda: begin(path))
            written = on_all(lambda: write_shards(path, rank, mine))
            on_first(lambda: finish(path, state, written))
        except ScriptError as error:
            if rank == 0:
                shutil.rmtree(beside(path), ignore_errors=True)
            raise ScriptError(
                f"cannot save {path}: {error}: mend that and start again; older checkpoints are whole"
            ) from None
        self.unusable.discard(step)
        on_first(self._remove_old)

    def resume(self, *, reshard: bool) -> int:
        """Load the newest usable checkpoint, if there is one, and return the step to resume at.

        Raises:
            ScriptError: there are checkpoints but none can be used, or they belong to another run.
        """
        found, strange = on_first(
            lambda: steps(self.folder)
        )  # file systems may show processes different folders
        for name in strange:
            note(f"skipped {self.folder / name}: its name is not that of a step")
        for step in found:
            path = self.folder / f"step-{step}"
            problem = self._load(path, reshard=reshard)
            if problem is None:
                return step
            note(f"skipped {path}: {problem}")
            self.unusable.add(step)
        if found:
            raise ScriptError(
                f"no checkpoint in {self.folder} can be used: choose another --out to start anew"
            )
        return 0

    def _load(self, path: Path, *, reshard: bool) -> str | None:
        """Load a checkpoint on all processes, or on none; then return what is wrong with it."""
        checkpoint, problem = agreed(lambda: Checkpoint(path))
        if checkpoint is None:
            return problem
        check_settings(path, checkpoint.state["settings"], self.settings, reshard=reshard)
        weights, optimizer = get_state_dict(self.model, self.optimizer)
        values = checkpoint.state["values"]
        if outline(values) != outline(self._values(optimizer)):
            return f"{STATE} has other values than this optimizer and schedule"
        tensors = self._tensors(weights, optimizer)
        wanted = {name: shard_of(tensor) for name, tensor in tensors.items()}
        rank, world = dist.get_rank(), dist.get_world_size()
        rows, problem = agreed(lambda: checkpoint.read(wanted, rank=rank, world=world))
        if rows is None:
            return problem
        for name, shard in wanted.items():
            shard.rows.copy_(rows[name])  # writes into `weights`, `optimizer` and `losses`
        optimizer["param_groups"] = values["optimizer"]
        set_state_dict(self.model, self.optimizer, model_state_dict=weights, optim_state_dict=optimizer)
        self.schedule.load_state_dict(values["schedule"])
        return None

    def _tensors(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return all tensors, with the same names on every process, under both DDP and FSDP."""
        moments = {
            f"optimizer.{parameter}.{name}": tensor
            for parameter, tensors in optimizer["state"].items()
            for name, tensor in tensors.items()
        }
        return (
            {f"model.{name}": tensor for name, tensor in weights.items()} | moments | {"losses": self.losses}
        )

    def _values(self, optimizer: Mapping[str, Any]) -> dict[str, Any]:
        """Return all state that is not a tensor."""
        return {"optimizer": optimizer["param_groups"], "schedule": self.schedule.state_dict()}

    def _remove_old(self) -> None:
        found, _ = steps(self.folder)
        usable = [step for step in found if step not in self.unusable]
        for old in usable[KEPT:]:
            shutil.rmtree(self.folder / f"step-{old}")


def shard_of(tensor: Tensor) -> Shard:
    """Return this process's rows of a tensor: the local shard, or all rows if it is not sharded."""
    if not isinstance(tensor, DTensor):
        return Shard(torch.atleast_1d(tensor.detach()), 0, tuple(tensor.shape))
    (placement,) = tensor.placements
    assert isinstance(placement, ShardedAlong), placement
    assert placement.dim == 0, "FSDP2 shards along the first axis"
    most = math.ceil(len(tensor) / tensor.device_mesh.size())  # as in torch.chunk
    first = min(tensor.device_mesh.get_local_rank() * most, len(tensor))
    return Shard(tensor.detach().to_local(), first, tuple(tensor.shape))


def outline(value: object) -> object:
    """Return what must be equal in two states: names and counts, not values."""
    if isinstance(value, Mapping):
        return {name: outline(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [outline(inner) for inner in value]
    return None


def agreed(work: Callable[[], T]) -> tuple[T, None] | tuple[None, str]:
    """Do work that may find a checkpoint unusable; if it is on one process, it is on all of them."""
    try:
        done, problem = work(), None
    except UnusableError as error:
        done, problem = None, str(error)
    for found in exchange(problem):
        if found is not None:
            return None, found
    return done, None


def note(text: str) -> None:
    """Print a note on rank 0."""
    if dist.get_rank() == 0:
        print(f"note: {text}", file=sys.stderr, flush=True)


def check_settings(path: Path, found: Settings, wanted: Settings, *, reshard: bool) -> None:
    """Check that the checkpoint belongs to the same run.

    Raises:
        ScriptError: a setting differs; the number of processes may differ if `reshard`.
    """
    theirs, ours = found["processes"], wanted["processes"]
    if theirs != ours and not reshard:
        raise ScriptError(
            f"{path} was written by {theirs} process(es), and these are {ours}: dropout would differ, so the"
            f" run would not be the same. Start {theirs}, or pass --reshard to go on with {ours}"
        )
    for name in wanted:
        if name != "processes" and found.get(name) != wanted[name]:
            option = name.replace("_", "-")
            raise ScriptError(
                f"{path} was written with --{option} {found.get(name)}, this run has {wanted[name]}:"
                " go on with the old value, or choose another --out"
            )


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Gather all weights on the CPU of rank 0, with the unwrapped model's names; other ranks get none."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
