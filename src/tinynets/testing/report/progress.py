"""A progress bar while checks run, if the output is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .results import Result

Callback = Callable[[Result], object]


@contextmanager
def progress(total: int, callback: Callback | None) -> Generator[Callback | None]:
    """Yield the callback for each of `total` results; by default, a progress bar on a terminal."""
    if callback is not None or not sys.stderr.isatty():
        yield callback
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ImportError:  # rich is an optional extra
        yield None
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda result: bar.update(task, advance=1, description=result.id)
