"""Training state in files without pickles: safetensors, JSON, and a SHA-256 of every file.

    step-6/rank-0.safetensors   what process 0 held: its shards, and its part of what all of them hold
    step-6/state.json           which rows of which tensor are in which file; and all that is no tensor
    step-6/SHA256SUMS           the digests, as `sha256sum --check SHA256SUMS` reads them

A checkpoint is written beside its place, synced, and renamed: a folder with its name was whole once. Whether
it still is, reading finds out, since nothing is parsed before its digest is compared.
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
from common import write_whole
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

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
    """Return the steps that a folder has checkpoints of, newest first, and names that only look like one."""
    names = sorted(path.name for path in folder.glob("step-*") if not UNFINISHED.fullmatch(path.name))
    found = [int(match[1]) for match in map(NAME.fullmatch, names) if match]
    return sorted(found, reverse=True), [name for name in names if not NAME.fullmatch(name)]


def begin(path: Path) -> None:
    """Make room for a checkpoint beside its place; what killed processes left unfinished is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for unfinished in path.parent.iterdir():
        if UNFINISHED.fullmatch(unfinished.name):
            shutil.rmtree(unfinished)
    beside(path).mkdir()


def beside(path: Path) -> Path:
    """Return the folder that becomes a checkpoint when it is whole."""
    return path.with_name(path.name + ".part")


def write_shards(path: Path, rank: int, shards: Mapping[str, Shard]) -> dict[str, Any]:
    """Write what a process holds of a checkpoint, and return what `finish` has to know about it."""
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
    """Add all that is no tensor and the digests, and put the checkpoint in its place."""
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
    if path.exists():  # one that could not be used, or this run would have gone on from it
        shutil.rmtree(path)
    beside(path).rename(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk, as `fsync` of a file does with its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Checkpoint:
    """A checkpoint to read from. Everything raises `UnusableError` where it is not what was written.

    Args:
        path: its folder.

    Attributes:
        state: all that is no tensor.
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
        """Return new tensors in place of the rows of `wanted`, whatever processes wrote them.

        All processes together verify every file; each keeps in memory what it needs.
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
    """Say which file has the right digest and yet a content that this script never writes."""
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
