"""Training state in files without pickles: safetensors, JSON, and a SHA-256 of every file.

    step-6/rank-0.safetensors   the shards of process 0, and its part of the tensors that all processes have
    step-6/state.json           which rows of which tensor are in which file; everything that is not a tensor
    step-6/SHA256SUMS           the digests, in the format of `sha256sum --check SHA256SUMS`

A checkpoint is written to a temporary folder, synced, and renamed, so a folder with the final name was
complete when it was written. Reading detects later damage: no file is parsed before its digest is verified.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor
from write_whole import write_whole

STATE, SUMS = "state.json", "SHA256SUMS"
VERSION = 1
NAME = re.compile(r"step-([1-9][0-9]{0,17})")
UNFINISHED = re.compile(NAME.pattern + r"\.part")
SUM = re.compile(r"([0-9a-f]{64})  ([a-z0-9.-]+)")


class UnusableError(Exception):
    """A checkpoint cannot be resumed from; the message says why."""


class Shard(NamedTuple):
    """Rows of a tensor, from `first` on. A tensor without axes has one row."""

    rows: Tensor
    first: int
    shape: tuple[int, ...]  # of the whole tensor

    def describe(self) -> dict[str, Any]:
        return {"dtype": str(self.rows.dtype).removeprefix("torch."), "shape": list(self.shape)}


def steps(folder: Path) -> tuple[list[int], list[str]]:
    """Return the steps of the checkpoints in a folder, newest first, and similar names that are none."""
    names = sorted(path.name for path in folder.glob("step-*") if not UNFINISHED.fullmatch(path.name))
    found = [int(match[1]) for match in map(NAME.fullmatch, names) if match]
    return sorted(found, reverse=True), [name for name in names if not NAME.fullmatch(name)]


def begin(path: Path) -> None:
    """Create the temporary folder of a checkpoint, and remove unfinished ones of killed processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for unfinished in path.parent.iterdir():
        if UNFINISHED.fullmatch(unfinished.name):
            shutil.rmtree(unfinished)
    beside(path).mkdir()


def beside(path: Path) -> Path:
    """Return the temporary folder, which is renamed when the checkpoint is complete."""
    return path.with_name(path.name + ".part")


def write_shards(path: Path, rank: int, shards: Mapping[str, Shard]) -> dict[str, Any]:
    """Write the shards of one process, and return the entry that `finish` needs for them."""
    file = f"rank-{rank}.safetensors"
    content = safetensors_bytes({name: shard.rows.contiguous() for name, shard in shards.items()})
    write_whole(beside(path) / file, content)
    return {
        "file": file,
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": {name: [shard.first, len(shard.rows)] for name, shard in shards.items()},
        "tensors": {name: shard.describe() for name, shard in shards.items()},
    }


def finish(path: Path, state: Mapping[str, Any], written: Sequence[Mapping[str, Any]]) -> None:
    """Write the other state and the digests, and rename the temporary folder."""
    tensors: dict[str, Any] = {}
    for part in written:
        for name, (first, count) in part["rows"].items():
            entry = tensors.setdefault(name, {**part["tensors"][name], "rows": []})
            entry["rows"].append([part["file"], first, count])
    for entry in tensors.values():
        entry["rows"].sort(key=lambda row: row[1:])
    content = json.dumps({"version": VERSION, **state, "tensors": tensors}).encode()
    write_whole(beside(path) / STATE, content)
    digests = {part["file"]: part["sha256"] for part in written}
    digests[STATE] = hashlib.sha256(content).hexdigest()
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    write_whole(beside(path) / SUMS, "".join(lines).encode())
    _sync(beside(path))
    if path.exists():  # an unusable one, or this run would have resumed from it
        shutil.rmtree(path)
    beside(path).rename(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Flush the entries of a folder to disk, as `fsync` does for the content of a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Checkpoint:
    """A checkpoint to read from. All methods raise `UnusableError` if a file differs from what was written.

    Args:
        path: its folder.

    Attributes:
        state: everything that is not a tensor.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digests = self._digests()
        with _parsing(STATE):
            self.state: dict[str, Any] = json.loads(self._verified(STATE))
            if self.state["version"] != VERSION:
                raise UnusableError(
                    f"{STATE} is of version {self.state['version']}, and this script reads {VERSION}"
                )
            if f"step-{self.state['step']}" != path.name:
                raise UnusableError(f"{STATE} is of step {self.state['step']}")

    def read(self, wanted: Mapping[str, Shard], *, rank: int, world: int) -> dict[str, Tensor]:
        """Return new tensors with the rows of `wanted`, whichever processes wrote them.

        The processes share the work of verifying every file; each keeps in memory only what it needs.
        """
        loaded: dict[str, dict[str, Tensor]] = {}
        with _parsing(STATE):
            entries = self.state["tensors"]
            for name in sorted(entries.keys() ^ wanted.keys()):
                raise UnusableError(f"{STATE} {'lacks' if name in wanted else 'has an unknown'} {name}")
            rows = {name: self._rows(name, entries[name], wanted[name], loaded) for name in wanted}
        for name in sorted(self.digests)[rank::world]:
            if name not in {STATE, *loaded}:
                self._verified(name)
        return rows

    def _rows(
        self, name: str, entry: Mapping[str, Any], wanted: Shard, loaded: dict[str, dict[str, Tensor]]
    ) -> Tensor:
        found, expected = [entry["dtype"], entry["shape"]], [*wanted.describe().values()]
        if found != expected:
            raise UnusableError("{} is {} {}, expected {} {}".format(name, *found, *expected))
        rows = torch.empty_like(wanted.rows, device="cpu", memory_format=torch.contiguous_format)
        at, end = wanted.first, wanted.first + len(rows)
        for file, first, count in entry["rows"]:
            if first <= at < min(first + count, end):
                if file not in loaded:
                    content = self._verified(file)
                    with _parsing(file):
                        loaded[file] = safetensors_load(content)
                part = loaded[file][name]
                if part.dtype != rows.dtype or part.shape != (count, *rows.shape[1:]):
                    raise UnusableError(f"{file} has {name} as {part.dtype} {[*part.shape]}")
                until = min(first + count, end)
                rows[at - wanted.first : until - wanted.first] = part[at - first : until - first]
                at = until
        if at != end:
            raise UnusableError(f"row {at} of {name} is in no file")
        return rows

    def _digests(self) -> dict[str, str]:
        lines = self._bytes(SUMS).decode("ascii", "replace").removesuffix("\n").split("\n")
        found = [SUM.fullmatch(line) for line in lines]
        for number, match in enumerate(found, start=1):
            if not match:
                raise UnusableError(f"{SUMS} is damaged: line {number} is not a digest and a name")
        return {match[2]: match[1] for match in found if match}

    def _verified(self, name: str) -> bytes:
        if name not in self.digests:
            raise UnusableError(f"{SUMS} lacks {name}")
        content = self._bytes(name)
        if hashlib.sha256(content).hexdigest() != self.digests[name]:
            raise UnusableError(f"{name} is damaged: its SHA-256 is not that in {SUMS}")
        return content

    def _bytes(self, name: str) -> bytes:
        try:
            content = (self.path / name).read_bytes()
        except FileNotFoundError:
            raise UnusableError(f"{name} is missing") from None
        except OSError as error:
            raise UnusableError(f"{name} cannot be read: {error.strerror}") from None
        if not content:
            raise UnusableError(f"{name} is empty")
        return content


@contextmanager
def _parsing(name: str) -> Iterator[None]:
    """Name the file if its digest is right but its content is not what this script writes."""
    try:
        yield
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RecursionError,
        SafetensorError,
    ) as error:
        raise UnusableError(
            f"{name} is not as this script writes it: {type(error).__name__}: {error}"
        ) from None
