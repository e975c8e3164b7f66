"""Training checkpoints: any damage is found before anything is parsed, and no pickle is read."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

RANKS = (0, 1)
WHOLE = {
    "weight": torch.arange(15.0).reshape(5, 3),
    "mask": torch.tensor([True, False]),
    "empty": torch.empty(0, 3),
    "step": torch.tensor(3.0),
}


@pytest.fixture
def checkpoints(example) -> ModuleType:
    return example("checkpoints")


def part_of(checkpoints: ModuleType, rank: int, world: int) -> dict:
    """What FSDP2 has on a rank: rows of the weight as `torch.chunk` deals them out, and all of the rest."""
    shards = {
        name: checkpoints.Shard(torch.atleast_1d(tensor), 0, tuple(tensor.shape))
        for name, tensor in WHOLE.items()
    }
    rows = WHOLE["weight"].chunk(world)
    first = sum(len(before) for before in rows[:rank])
    mine = rows[rank] if rank < len(rows) else torch.empty(0, 3)
    return shards | {"weight": checkpoints.Shard(mine, first, (5, 3))}


@pytest.fixture
def path(checkpoints, tmp_path: Path) -> Path:
    """Write a checkpoint as two processes do: each its shard, what both have in turns."""
    path = tmp_path / "checkpoints" / "step-6"
    checkpoints.begin(path)
    written = []
    for rank in RANKS:
        parts = part_of(checkpoints, rank, 2)
        mine = {
            name: parts[name] for number, name in enumerate(parts) if name == "weight" or number % 2 == rank
        }
        written.append(checkpoints.write_shards(path, rank, mine))
    checkpoints.finish(path, {"step": 6, "settings": {"seed": 0}, "values": {"lr": 0.1}}, written)
    return path


def read(checkpoints: ModuleType, path: Path, *, world: int = 2) -> dict[str, list[Tensor]]:
    """Read as all processes do together; one that cannot is enough."""
    found: dict[str, list[Tensor]] = {name: [] for name in WHOLE}
    for rank in range(world):
        wanted = part_of(checkpoints, rank, world)
        for name, rows in checkpoints.Checkpoint(path).read(wanted, rank=rank, world=world).items():
            found[name].append(rows)
    return found


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
def test_any_number_of_processes_reads_what_two_wrote(checkpoints, path: Path, world: int) -> None:
    assert sorted(os.listdir(path.parent)) == ["step-6"]
    found = read(checkpoints, path, world=world)
    assert torch.equal(torch.cat(found.pop("weight")), WHOLE["weight"])
    for name, everywhere in found.items():
        for rows in everywhere:
            assert torch.equal(rows.reshape(WHOLE[name].shape), WHOLE[name])
            assert rows.dtype == WHOLE[name].dtype
    state = checkpoints.Checkpoint(path).state
    assert (state["step"], state["settings"], state["values"]) == (6, {"seed": 0}, {"lr": 0.1})


def test_the_digests_are_those_of_sha256sum(path: Path) -> None:
    run = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=path, capture_output=True, text=True
    )
    assert run.stdout == "rank-0.safetensors: OK\nrank-1.safetensors: OK\nstate.json: OK\n"


def test_every_flipped_byte_is_found_at_once(checkpoints, path: Path) -> None:
    chance, count, slowest = random.Random(0), 0, 0.0
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        for index in range(chance.randrange(3), len(whole), 3):
            file.write_bytes(
                whole[:index] + bytes([whole[index] ^ 1 << chance.randrange(8)]) + whole[index + 1 :]
            )
            started = time.process_time()
            with pytest.raises(checkpoints.UnusableError, match="is damaged|is missing|lacks"):
                read(checkpoints, path)
            slowest = max(slowest, time.process_time() - started)
            count += 1
        file.write_bytes(whole)
    assert count > 300
    assert slowest < 1
    read(checkpoints, path)


def test_every_truncation_is_found(checkpoints, path: Path) -> None:
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        for length in {*range(0, len(whole), 3), len(whole) - 1}:
            if file.name == "SHA256SUMS" and whole[length:] == b"\n":
                continue  # all digests are there
            file.write_bytes(whole[:length])
            with pytest.raises(checkpoints.UnusableError, match="is damaged|is empty|lacks"):
                read(checkpoints, path)
        file.write_bytes(whole)
    read(checkpoints, path)


DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda path: (path / "rank-1.safetensors").unlink(), "rank-1.safetensors is missing"),
        (lambda path: (path / "state.json").write_text(""), "state.json is empty"),
        (lambda path: (path / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
        (lambda path: (path / "SHA256SUMS").write_text(""), "SHA256SUMS is empty"),
        (
            lambda path: (path / "SHA256SUMS").write_text(f"{DIGEST}  rank-0.safetensors\n"),
            "SHA256SUMS lacks state.json",
        ),
        (
            lambda path: (path / "SHA256SUMS").write_text(f"{DIGEST}  state.json\n{DIGEST}  ../other\n"),
            "SHA256SUMS is damaged: line 2 is not a digest and a name",
        ),
        (
            lambda path: (path / "state.json").write_text("{}"),
            "state.json is damaged: its SHA-256 is not that in SHA256SUMS",
        ),
        (
            lambda path: [(path / "rank-0.safetensors").unlink(), (path / "rank-0.safetensors").mkdir()],
            "rank-0.safetensors cannot be read: Is a directory",
        ),
        (lambda path: [shutil.rmtree(path), path.touch()], "SHA256SUMS cannot be read: Not a directory"),
    ],
)
def test_it_says_which_file_is_damaged_and_how(
    checkpoints, path: Path, break_it: Callable, message: str
) -> None:
    break_it(path)
    with pytest.raises(checkpoints.UnusableError) as refused:
        read(checkpoints, path)
    assert str(refused.value) == message


def with_digests(path: Path, state: object) -> None:
    """Change what is no tensor, as somebody would who can write digests too."""
    content = json.dumps(state).encode()
    (path / "state.json").write_bytes(content)
    lines = (path / "SHA256SUMS").read_text().splitlines(keepends=True)
    (path / "SHA256SUMS").write_text(
        "".join(lines[:-1]) + f"{hashlib.sha256(content).hexdigest()}  state.json\n"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: [], "state.json is not as this script writes it: TypeError: list indices must be"),
        (lambda state: state | {"version": 2}, "state.json is of version 2, and this script reads 1"),
        (lambda state: state | {"step": 8}, "state.json is of step 8"),
        (lambda state: state | {"tensors": {}}, "state.json lacks empty"),
        (
            lambda state: state | {"tensors": state["tensors"] | {"bias": {}}},
            "state.json has an unknown bias",
        ),
        (
            lambda state: (
                state | {"tensors": state["tensors"] | {"mask": {"dtype": "int8", "shape": [2], "rows": []}}}
            ),
            "mask is int8 [2], expected bool [2]",
        ),
        (
            lambda state: state["tensors"]["weight"].update(rows=[["rank-0.safetensors", 0, 3]]) or state,
            "row 3 of weight is in no file",
        ),
        (
            lambda state: state["tensors"]["weight"].update(rows=[["../other", 0, 5]]) or state,
            "SHA256SUMS lacks ../other",
        ),
        (
            lambda state: state["tensors"]["weight"].update(rows=[["rank-0.safetensors", 0, 5]]) or state,
            "rank-0.safetensors has weight as torch.float32 [3, 3]",
        ),
    ],
)
def test_a_content_that_is_not_ours_is_refused_with_right_digests(
    checkpoints, path: Path, change: Callable, message: str
) -> None:
    with_digests(path, change(json.loads((path / "state.json").read_text())))
    with pytest.raises(checkpoints.UnusableError) as refused:
        read(checkpoints, path)
    assert str(refused.value).startswith(message)


def test_only_names_of_steps_are_checkpoints(checkpoints, tmp_path: Path) -> None:
    names = ["step-5", "step-10", "step-abc", "step-007", "step-5.part", "step-0", "other"]
    for name in names:
        (tmp_path / name).mkdir()
    assert checkpoints.steps(tmp_path) == ([10, 5], ["step-0", "step-007", "step-abc"])
    assert checkpoints.steps(tmp_path / "none") == ([], [])
    checkpoints.begin(tmp_path / "step-10")
    assert {*os.listdir(tmp_path)} == {*names, "step-10.part"} - {"step-5.part"}
