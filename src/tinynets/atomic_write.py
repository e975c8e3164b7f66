"""Write files atomically: temporary files and those that killed writers left behind, symbolic links, file
modes, and the errors for a missing folder or a path that is a folder.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file in the same folder and rename it; after a failure, the old file is unchanged.

    A symbolic link is kept and its target replaced; an existing file keeps its mode. Temporary files that
    killed writers of the same path left behind are removed.

    Raises:
        FileNotFoundError, IsADirectoryError: the folder of the path does not exist, or the path is a folder.
    """
    check_destination(path)
    path = Path(os.path.realpath(path))
    _remove_leftovers(path)
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    temporary, handle = _create(path, 0o666 if mode is None else mode)
    try:
        with os.fdopen(handle, "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode)  # the umask may have removed bits
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":
                os.replace(temporary, path)  # before closing the file releases the lock
        if sys.platform == "win32":
            os.replace(temporary, path)  # Windows cannot rename an open file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_destination(path: Path) -> None:
    """Raise if no file can be written to the path; expensive exports check this first.

    Raises:
        FileNotFoundError, IsADirectoryError: the folder of the path does not exist, or the path is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")


def _create(path: Path, mode: int) -> tuple[Path, int]:
    """Create a temporary file that is locked while it is open, and so while its writer lives."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        # Unlike `mkstemp`, this leaves the mode of a new file to the umask and the folder.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        if _lock(handle) and temporary.exists():
            return temporary, handle
        os.close(handle)  # another writer removed it as a leftover before it was locked


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of this path that no living process has locked."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.tmp")
    for other in os.listdir(path.parent):
        if name.fullmatch(other):
            _remove_if_unlocked(path.with_name(other))


def _remove_if_unlocked(temporary: Path) -> None:
    try:
        handle = os.open(temporary, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:  # already gone, or owned by another user
        return
    try:
        if _lock(handle):
            temporary.unlink(missing_ok=True)
    except OSError:  # Windows cannot remove an open file, so the leftover stays
        return
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed, without waiting; Windows protects open files anyway."""
    if sys.platform != "win32":
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
