from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import Any

import torch

from ...._torch.modules.source_files import TORCH_FOLDER
from ...._torch.state.random_states import RandomStates
from ...._torch.state.walk_item import Role
from ....errors import CheckTimeout, ThreadStopped
from ....inputs.arguments import Arguments
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import call_no_grad, listed
from ...measure.compare import FLOAT32_LIMIT, Leaf, worst
from ...snapshot.snapshot import Snapshot

_BATCHES = 4
_VISITS = 2  # visits of a line by each thread in lock step; later visits run freely
_GROUPS = 3  # each one line behind the previous: writes race within a group, writes and reads across groups
_ENOUGH = 20  # threads that use this many times the CPU time of the calls are in an endless loop
_OTHERS = (TORCH_FOLDER, "/tinynets/testing/", "/threading.py")


@check("purity.threads", Level.SHOULD)
def threads(subject: Subject, *, count: int = 8, seconds: float = 10.0) -> str | None:
    """Eight threads that call the model in eval mode at once get the same outputs as one thread.

    Why: servers call one model from many threads, and a value written to `self` may belong to another request
    when it is read a few lines later. The threads run the model's own lines in lock step, so the race shows
    in every run rather than once a week.
    Fix: keep the values of one call in local variables.
    Declare: `stateful=True` for a model that is meant to remember, or an exemption with the reason.
    """
    if subject.stateful:
        raise Skip("the model is declared stateful")
    model = subject.model
    size = None if subject.example.size is None else 1  # the number of calls matters, not their size
    batches = [subject.batch(size, seed=seed) for seed in range(min(_BATCHES, count))]
    model.eval()
    torch.set_num_threads(1)  # new threads inherit it, so that all of them split sums the same way
    before, states = Snapshot(model), RandomStates()
    start = time.process_time()
    alone = [call_no_grad(subject, batch) for batch in batches]
    cost = (time.process_time() - start) * count / len(batches)
    if states.moved():
        raise Skip("an eval call draws random numbers: see modes.deterministic")
    if all(worst(one, alone[0]) is None for one in alone[1:]):
        raise Skip("all batches give the same output, so a mix-up could not show")
    written = [str(change) for change in before.changes(Role.ATTRIBUTE, Role.BUFFER)]
    before.restore()
    model.eval()

    crowd = _Crowd(subject, [batches[i % len(batches)] for i in range(count)])
    crowd.run(seconds, cost)
    cause = f"a call writes {listed(written)}" if written else ""
    rounding = 0.0
    for number, result in enumerate(crowd.results):
        if isinstance(result, Failure):
            raise Failure(
                f"with {count} threads, {result.what}", where=result.where, cause=cause, error=result.error
            )
        if result is None:
            continue
        found = worst(result, alone[number % len(batches)])
        if found is not None and found.error > FLOAT32_LIMIT:
            raise found.failure(f"with {count} threads a call gives another output than alone", cause=cause)
        rounding = max(rounding, 0.0 if found is None else found.error)
    # Some processors add in another order when they are busy: a difference in the last bit is not a race.
    return f"rounding: {rounding:.1e} of the largest value" if rounding else None


def _idle(seconds: float = 0.1) -> bool:
    """Return whether this process uses almost no CPU time, because its threads wait for each other."""
    used = time.process_time()
    time.sleep(seconds)
    return time.process_time() - used < seconds / 20


class _Crowd:
    """Threads that each make one call, in lock step for the first visits of every line."""

    def __init__(self, subject: Subject, batches: list[Arguments]) -> None:
        self._subject, self._batches = subject, batches
        self._barrier = threading.Barrier(len(batches))
        self._stopped = False
        self.results: list[list[Leaf] | Failure | None] = [None] * len(batches)

    def run(self, seconds: float, cost: float) -> None:
        """Run all threads until they finish.

        Args:
            seconds: how long to wait for them.
            cost: CPU seconds that the calls take one after the other.

        Raises:
            Failure: some threads do not finish: they are in a deadlock or an endless loop.
            CheckTimeout: some threads did not finish in time, probably because the machine is slow.
        """
        crowd = [
            threading.Thread(target=self._work, args=(number,), daemon=True)
            for number in range(len(self._batches))
        ]
        end = time.monotonic() + seconds
        used, stuck, hangs = time.process_time(), 0, False
        try:
            for thread in crowd:
                thread.start()
            for thread in crowd:
                thread.join(max(end - time.monotonic(), 0.0))
            stuck = sum(thread.is_alive() for thread in crowd)
            hangs = stuck > 0 and (time.process_time() - used > _ENOUGH * cost or _idle())
        finally:
            self._stopped = True
            self._barrier.abort()
            for thread in crowd:
                if thread.is_alive():
                    thread.join(1.0)
        if stuck:
            late = f"{stuck} of {len(crowd)} threads have not come back after {seconds:g} s"
            if hangs:
                raise Failure(late, cause="a lock?")
            raise CheckTimeout(f'{late}: params={{"purity.threads": {{"seconds": ...}}}} allows more')

    def _work(self, number: int) -> None:
        visits: Counter[tuple[str, int]] = Counter()

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            if self._stopped:
                raise ThreadStopped
            file = frame.f_code.co_filename
            if event == "call":
                own = not any(part in file for part in _OTHERS) and not file.startswith("<")
                return trace if own else None
            line = (file, frame.f_lineno)
            visits[line] += 1
            if event == "line" and visits[line] <= _VISITS:
                self._wait()
            return trace

        with contextlib.suppress(ThreadStopped):
            for _ in range(number % _GROUPS):
                self._wait()
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                self.results[number] = call_no_grad(self._subject, self._batches[number])
            except Failure as failure:
                self.results[number] = failure
            finally:
                sys.settrace(before)
                self._barrier.abort()  # no thread must wait for this one

    def _wait(self) -> None:
        # Threads that take different branches break the barrier; from then on all run freely.
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait(0.2)
