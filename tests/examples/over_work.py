"""An error that every attempt would meet: `torchrun over_work.py FOLDER`, where nobody trains."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import torch.distributed as dist
from processes import on_all, process_group, report
from script_error import ScriptError
from torch.distributed.elastic.multiprocessing.errors import record


def write() -> None:
    if dist.get_rank() == 1:
        raise OSError(errno.ENOSPC, "No space left")


def main(folder: Path) -> int:
    mine = f"{os.environ['TORCHELASTIC_RESTART_COUNT']}-{os.environ['RANK']}"
    (folder / f"started-{mine}").touch()
    try:
        with process_group():
            (folder / f"joined-{mine}").touch()
            on_all(write)
    except ScriptError as error:
        report(error)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(record(main)(Path(sys.argv[1])))
