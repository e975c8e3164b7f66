"""`timeout=`: the limit on the CPU time of a check, ten times as much wall-clock time, its messages, and
where there is no limit (other threads, Windows).
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from ...errors import CheckTimeout

_PATIENCE = 10
"""Wall-clock limit, as a multiple of the CPU limit: a block that waits for a lock uses no CPU time."""
_AGAIN = 1.0
"""Seconds until it is raised again: Python drops exceptions raised in `__del__` or in a callback."""


@contextmanager
def time_limit(seconds: float | None) -> Generator[None]:
    """Raise `CheckTimeout` in the block after some seconds of CPU time of its thread.

    CPU time, so that a busy machine does not change the result; ten times as much wall-clock time, so that a
    deadlock ends. The limit uses a signal, so it works only in the main thread of a Unix process, and only
    once the current operation ends. Elsewhere there is no limit.
    """
    usable = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    if seconds is None or not usable:
        yield
        return
    start, used = time.monotonic(), time.thread_time()

    def interrupt(number: int, frame: FrameType | None) -> None:
        left = seconds - (time.thread_time() - used)
        if left <= 0:
            raise CheckTimeout(f"it used {seconds:g} s of the processor: timeout= allows more")
        if time.monotonic() - start >= _PATIENCE * seconds:
            raise CheckTimeout(f"it has not ended after {_PATIENCE * seconds:g} s: does it wait for a lock?")
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.01), _AGAIN)

    before = signal.signal(signal.SIGALRM, interrupt)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        # Restore a limit that was there before, such as pytest-timeout's.
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)
