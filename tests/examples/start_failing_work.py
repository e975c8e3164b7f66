"""Start `failing_work.py` on several processes: PROCESSES RESTARTS WORK FOLDER OPTIONS.

What starts processes needs a second of torch less than they do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from launch import launch


def main(arguments: Sequence[str]) -> int:
    import failing_work

    return failing_work.main(arguments)


if __name__ == "__main__":
    processes, restarts, *arguments = sys.argv[1:]
    raise SystemExit(launch(main, arguments, processes=int(processes), restarts=int(restarts)))
