"""What a run goes on from: the newest checkpoint that is whole, without reading a pickle, or else one line."""

from __future__ import annotations

import _pickle
import errno
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from .no_pickles import no_pickles

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="needs gloo")
SETTINGS = {"model": "mlp", "seed": 0, "processes": 1}


@pytest.fixture(autouse=True)
def group() -> Iterator[None]:
    """Be a group of one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(params=["ddp", "fsdp"])
def new_run(request: pytest.FixtureRequest, example, tmp_path: Path) -> Callable[..., Any]:
    """Make a run from its start: a model that no other has the weights of, an optimizer, a schedule."""

    def new_run(optimizer: Callable = torch.optim.AdamW, width: int = 3) -> Any:
        model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
        model = DistributedDataParallel(model) if request.param == "ddp" else fully_shard(model)
        steps = optimizer(model.parameters(), lr=0.1)
        return example("resume").Run(
            tmp_path / "checkpoints",
            SETTINGS,
            model=model,
            optimizer=steps,
            schedule=torch.optim.lr_scheduler.CosineAnnealingLR(steps, 10),
            losses=torch.full((10,), torch.nan, dtype=torch.float64),
        )

    return new_run


def train(run: Any, steps: range) -> None:
    for step in steps:
        loss = run.model(torch.rand(8, 4)).square().mean()
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        run.schedule.step()
        run.losses[step - 1] = loss.item()
        run.save(step)


def state(run: Any) -> str:
    """All of it, bit for bit."""

    def whole(tensor: torch.Tensor) -> list:
        full = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        return [full.dtype, full.tolist()]

    weights = {name: whole(tensor) for name, tensor in run.model.state_dict().items()}
    optimizer = run.optimizer.state_dict()
    moments = {
        number: {name: whole(tensor) for name, tensor in tensors.items()}
        for number, tensors in optimizer["state"].items()
    }
    groups = [dict(group, betas=[*group["betas"]]) for group in optimizer["param_groups"]]
    return str([weights, moments, groups, run.schedule.state_dict(), run.losses.tolist()])


def names(run: Any) -> list[str]:
    return sorted(os.listdir(run.folder))


def test_a_run_goes_on_with_all_its_state_and_reads_no_pickle(new_run) -> None:
    first, second = new_run(), new_run()
    with no_pickles():
        assert first.resume(reshard=False) == 0
        train(first, range(1, 4))
        assert names(first) == ["step-2", "step-3"]
        assert state(second) != state(first)
        assert second.resume(reshard=False) == 3
    assert state(second) == state(first)


@pytest.mark.parametrize(
    "read",
    [
        lambda path: dcp.FileSystemReader(path).read_metadata(),
        lambda path: dist.all_gather_object([0], 1),
        lambda path: torch.load(path / "tensor.pt", weights_only=True),
        lambda path: _pickle.loads(pickle.dumps(path)),
    ],
)
def test_no_pickle_would_be_read_unnoticed(tmp_path: Path, read: Callable) -> None:
    dcp.save({"step": torch.ones(1)}, checkpoint_id=tmp_path)
    torch.save(torch.ones(1), tmp_path / "tensor.pt")
    read(tmp_path)
    with no_pickles(), pytest.raises(AssertionError, match="a pickle is read|a pickle asks for a class"):
        read(tmp_path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (
            lambda path: os.truncate(path / "rank-0.safetensors", 100),
            "rank-0.safetensors is damaged: its SHA-256 is not that in SHA256SUMS",
        ),
        (
            lambda path: flip(path / "rank-0.safetensors"),
            "rank-0.safetensors is damaged: its SHA-256 is not that in SHA256SUMS",
        ),
        (lambda path: (path / "rank-0.safetensors").unlink(), "rank-0.safetensors is missing"),
        (lambda path: os.truncate(path / "state.json", 0), "state.json is empty"),
        (lambda path: [shutil.rmtree(path), path.mkdir()], "SHA256SUMS is missing"),
    ],
)
def test_a_damaged_newest_checkpoint_is_skipped_in_one_line(
    new_run, capsys, damage: Callable, why: str
) -> None:
    first, second, third = new_run(), new_run(), new_run()
    train(first, range(1, 4))
    expected = state(first)
    train(first, range(4, 5))
    damage(first.folder / "step-4")
    assert second.resume(reshard=False) == 3
    assert capsys.readouterr().err == f"note: skipped {first.folder / 'step-4'}: {why}\n"
    assert state(second) == expected

    train(second, range(4, 5))  # takes the place of the damaged one
    assert names(second) == ["step-3", "step-4"]
    assert third.resume(reshard=False) == 4
    assert (state(third), capsys.readouterr().err) == (state(second), "")


def test_a_damaged_checkpoint_is_not_one_of_those_that_are_kept(new_run) -> None:
    first, second = new_run(), new_run()
    train(first, range(1, 4))
    (first.folder / "step-3" / "state.json").unlink()
    assert second.resume(reshard=False) == 2
    train(second, range(4, 5))
    assert names(second) == ["step-2", "step-3", "step-4"]
    train(second, range(5, 6))
    assert names(second) == ["step-3", "step-4", "step-5"]


def test_a_folder_of_another_name_is_skipped_in_one_line(new_run, capsys) -> None:
    first, second = new_run(), new_run()
    (first.folder / "step-abc").mkdir(parents=True)
    train(first, range(1, 2))
    assert second.resume(reshard=False) == 1
    assert capsys.readouterr().err == (
        f"note: skipped {first.folder / 'step-abc'}: its name is not that of a step\n"
    )


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("exploded",)


def test_a_pickle_of_an_older_version_is_not_read(new_run, capsys, monkeypatch, example) -> None:
    run = new_run()
    old = run.folder / "step-50"
    old.mkdir(parents=True)
    (old / ".metadata").write_bytes(pickle.dumps(Bomb()))
    monkeypatch.chdir(run.folder)
    with pytest.raises(example("script_error").ScriptError) as refused:
        run.resume(reshard=False)
    assert str(refused.value) == (
        f"no checkpoint in {run.folder} can be used: choose another --out to start anew"
    )
    assert capsys.readouterr().err == f"note: skipped {old}: SHA256SUMS is missing\n"
    assert names(run) == ["step-50"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"optimizer": torch.optim.SGD}, "state.json has other values than this optimizer and schedule"),
        ({"width": 5}, "model.0.weight is float32 [3, 4], expected float32 [5, 4]"),
    ],
)
def test_a_checkpoint_of_other_code_is_refused(new_run, capsys, example, other: dict, why: str) -> None:
    first, second = new_run(), new_run(**other)
    train(first, range(1, 2))
    with pytest.raises(example("script_error").ScriptError, match="can be used: choose another --out"):
        second.resume(reshard=False)
    assert capsys.readouterr().err == f"note: skipped {first.folder / 'step-1'}: {why}\n"


@pytest.mark.parametrize("function", ["begin", "write_shards", "finish"])
def test_where_a_checkpoint_cannot_be_written_the_older_ones_stay(
    new_run, monkeypatch, example, function: str
) -> None:
    first, second = new_run(), new_run()
    train(first, range(1, 3))
    resume = example("resume")
    work = getattr(resume, function)

    def fail(*arguments: object) -> None:
        work(*arguments) if function != "finish" else None
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(resume, function, fail)
    with pytest.raises(example("script_error").ScriptError) as refused:
        train(first, range(3, 4))
    assert str(refused.value) == (
        f"cannot save {first.folder / 'step-3'}: on rank 0: [Errno 28] No space left on device:"
        " mend that and start again; older checkpoints are whole"
    )
    assert names(first) == ["step-1", "step-2"]
    assert second.resume(reshard=False) == 2
