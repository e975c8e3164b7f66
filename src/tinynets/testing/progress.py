"""A progress bar while checks run, where someone is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .report.results import Result


@contextmanager
def progress(
    total: int, callback: Callable[[Result], object] | None
) -> Generator[Callable[[Result], object] | None]:
    """Yield what to call with every result: the caller's own function, or a progress bar on a terminal.

    Args:
        total: how many results there will be.
        callback: the caller's own; then nothing is drawn.
    """
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
