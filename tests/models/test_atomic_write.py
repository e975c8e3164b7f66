"""Files are whole at every moment, and killed writers leave nothing for long."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinynets import atomic_write
from tinynets.atomic_write import write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "weights", tmp_path / "link"
    link.symlink_to(target)
    for content in (b"one", b"two"):  # a link to nothing, then to a file
        write_atomically(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert names(tmp_path) == ["link", "real"]
    assert names(tmp_path / "real") == ["weights"]


def test_a_place_that_is_none_is_named_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError, match=r"^cannot write \.: it is a folder$"):
        write_atomically(Path("."), b"one")
    with pytest.raises(FileNotFoundError, match=r"^cannot write runs/best: there is no folder runs$"):
        write_atomically(Path("runs/best"), b"one")
    assert names(tmp_path) == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400])
def test_an_existing_file_keeps_its_mode(tmp_path: Path, mode: int):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


def test_a_private_file_is_private_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o600)
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(stat.S_IMODE(os.fstat(handle).st_mode)))
    write_atomically(path, b"new")
    assert seen == [0o600]


def test_the_umask_of_the_process_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", None)  # for all threads: another one may be creating a file
        write_atomically(tmp_path / "file", b"new")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_leftovers_of_the_same_path_are_removed_and_nothing_else(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    kept = [".model.safetensors.tmp", ".model.safetensors.notes.tmp", ".other.safetensors.0123abcd.tmp", "x"]
    for name in [".model.safetensors.0123abcd.tmp", ".model.safetensors.ab_9zz01.tmp", *kept]:
        (tmp_path / name).write_bytes(b"half")
    write_atomically(path, b"new")
    assert names(tmp_path) == sorted([*kept, path.name])


def test_the_file_of_a_living_writer_is_left_alone(tmp_path: Path):
    other = tmp_path / ".file.0123abcd.tmp"
    with open(other, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_atomically(tmp_path / "file", b"new")
        assert other.exists()
    write_atomically(tmp_path / "file", b"new")
    assert not other.exists()


def test_a_writer_whose_file_was_taken_for_a_leftover_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, taken = fcntl.flock, []

    def flock(handle: int, flags: int) -> None:
        if not taken:  # another process was faster, between `open` and the lock
            (file,) = tmp_path.glob(".file.*.tmp")
            file.unlink()
            taken.append(file)
        real(handle, flags)

    monkeypatch.setattr(fcntl, "flock", flock)
    write_atomically(tmp_path / "file", b"new")
    assert taken
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


# The module alone: importing torch 25 times takes minutes.
SAVE_FOREVER = """
import runpy, sys
from pathlib import Path
write_atomically = runpy.run_path(sys.argv[1])["write_atomically"]
print(flush=True)
while True:
    for letter in b"abcdefgh":
        write_atomically(Path(sys.argv[2]), bytes([letter]) * 3_000_000)
"""


@pytest.mark.slow
def test_kill_9_leaves_an_old_or_a_new_file_and_what_else_it_leaves_is_swept(tmp_path: Path):
    path = tmp_path / "file"
    leftovers = 0
    chance = random.Random(0)
    for _ in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, atomic_write.__file__, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1
        leftovers += len(names(tmp_path)) - 1
        assert len(names(tmp_path)) <= 2, "each run removes what the last one left"
    assert leftovers, "no process was killed while it wrote: this test has seen nothing"
    write_atomically(path, b"last")
    assert names(tmp_path) == ["file"]
