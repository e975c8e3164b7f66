"""Checkpoints of a distributed run: written by all processes together, found again after any of them died."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from common import ScriptError
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

KEPT = 2  # the newest, and one more in case a disk lost the newest
Settings = Mapping[str, str | int | float | bool]


class Run:
    """All state that a step changes; with the step's number, it determines the rest of the run.

    Args:
        folder: where checkpoints are kept, one folder each; on a disk that all processes see.
        settings: what must be the same when the run goes on.
        losses: mean loss of every step; filled as the run goes.
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

    def _state(self) -> dict[str, Any]:
        weights, moments = get_state_dict(self.model, self.optimizer)  # the same names under DDP and FSDP
        return {
            "settings": json.dumps(self.settings),
            "model": weights,
            "optimizer": moments,
            "schedule": self.schedule.state_dict(),
            "losses": self.losses,
        }

    def save(self, step: int) -> None:
        """Write a checkpoint. It counts from the moment that its `.metadata` is there, which comes last."""
        dcp.save(self._state(), checkpoint_id=self.folder / f"step-{step}")
        if dist.get_rank() == 0:
            for old in finished(self.folder)[:-KEPT]:
                shutil.rmtree(self.folder / f"step-{old}")

    def resume(self, *, reshard: bool) -> int:
        """Load the newest checkpoint, if there is one, and return the step to go on with."""
        newest: list[int] = [max(finished(self.folder), default=0)]
        dist.broadcast_object_list(newest, src=0)  # file systems may show processes different folders
        step = newest[0]
        if step == 0:
            return 0
        path = self.folder / f"step-{step}"
        found = {"settings": ""}
        dcp.load(found, checkpoint_id=path)
        check_settings(path, json.loads(found["settings"]), self.settings, reshard=reshard)
        state = self._state()
        dcp.load(state, checkpoint_id=path)
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
        self.schedule.load_state_dict(state["schedule"])
        return step


def finished(folder: Path) -> list[int]:
    """Return the steps of the complete checkpoints, oldest first."""
    return sorted(int(path.parent.name.removeprefix("step-")) for path in folder.glob("step-*/.metadata"))


def check_settings(path: Path, found: Settings, wanted: Settings, *, reshard: bool) -> None:
    """Refuse to resume a run that had other settings.

    Raises:
        ScriptError: a setting differs; the number of processes may if `reshard`.
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
    """Gather all weights on the CPU of rank 0, under the names of the bare model; the others get none."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
