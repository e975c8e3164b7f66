"""Running checks: in order, isolated, bounded in time, each with a result."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from types import FrameType
from typing import Any

from .._torch.global_flags import read_flags, write_flags
from .._torch.random_states import RandomStates, seed_everything
from ..errors import Failure, Skip
from .definition import Check, Level
from .exemptions import Exemption
from .report.report import Result, Status
from .subject import Subject

RUNS = "contract.runs_eval"
"""The check that says whether the model runs at all: where it fails, the others have nothing to look at."""

TRAINS = "contract.runs_train"
"""The same in training mode: what other checks find to be broken in the same way is not reported again."""


class _Timeout(BaseException):
    """Not an `Exception`: no `except Exception` of the model's may swallow it."""


@dataclass(frozen=True)
class Plan:
    """Which checks to run, and what is declared about them.

    Args:
        checks: every check, selected or not.
        groups: the groups to run; None for all.
        slow: whether the slow ones run too.
        supports: ids of capabilities that are declared.
        exemptions: checks that are expected to fail.
        skip: checks not to run, with the reason.
        params: parameters of checks, by id.
        timeout: seconds that one check may take; None for no limit.
    """

    checks: Sequence[Check]
    groups: frozenset[str] | None = None
    slow: bool = False
    supports: frozenset[str] = frozenset()
    exemptions: Mapping[str, Exemption] = field(default_factory=dict[str, Exemption])
    skip: Mapping[str, str] = field(default_factory=dict[str, str])
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    timeout: float | None = 30.0

    def ordered(self) -> list[Check]:
        """Return the checks, the cheap ones first: a trivial failure is not to wait for half an hour."""

        def rank(check: Check) -> tuple[bool, bool, bool]:
            return (
                bool(getattr(check, "slow", False)),
                not getattr(check, "static", False),
                not check.id.startswith("contract."),
            )

        return sorted(self.checks, key=rank)

    def unselected(self, check: Check) -> str | None:
        """Return why a check is not to run, None if it is."""
        group = check.id.partition(".")[0]
        if check.id in self.skip:
            return self.skip[check.id]
        if self.groups is not None and group not in self.groups:
            return f"group {group!r} is not among groups="
        if getattr(check, "opt_in", False) and check.id not in self.supports:
            return f'only where it is asked for: supports={{"{check.id}"}}'
        if getattr(check, "slow", False) and not self.slow and check.id not in self.supports:
            return "takes seconds: slow=True runs it"
        return None


class Run:
    """The checks of one model, each run when it is asked for.

    Args:
        subject: the model.
        plan: what to run.
    """

    def __init__(self, subject: Subject, plan: Plan) -> None:
        self.subject = subject
        self.plan = plan

    def results(self, callback: Callable[[Result], object] | None = None) -> Iterator[Result]:
        """Run every check, in order, and yield its result."""
        for check in self.plan.ordered():
            result = self.result(check)
            if callback is not None:
                callback(result)
            yield result

    def result(self, check: Check) -> Result:
        """Run one check, unless it is not selected or cannot say anything, and return its result."""
        reason = self.plan.unselected(check)
        needs_values = not (getattr(check, "static", False) or getattr(check, "valueless", False))
        if reason is None and needs_values and self.subject.on_meta:
            reason = "the model is on the meta device: it has shapes and no values"
        if reason is None and check.id == RUNS:
            return self._runs
        if reason is None and not getattr(check, "static", False) and self._runs.failure is not None:
            reason = f"the model does not run: see {RUNS}"
        if reason is not None:
            return Result(check.id, check.level, Status.SKIPPED, reason)
        if check.id == TRAINS:
            return self._trains
        result = run_one(check, self.subject, self.plan)
        if result.status in (Status.FAILED, Status.WARNED) and self._is_of_training(result.failure):
            note = f"the model does not run in training mode: see {TRAINS}"
            return Result(check.id, check.level, Status.SKIPPED, note, seconds=result.seconds)
        return result

    def _is_of_training(self, failure: Failure | None) -> bool:
        """Whether a check fails only since the model raises in training mode, which is reported once."""
        if failure is None or failure.error is None or TRAINS not in {check.id for check in self.plan.checks}:
            return False
        known = self._trains.failure
        return known is not None and (known.what, known.where) == (failure.what, failure.where)

    @cached_property
    def _trains(self) -> Result:
        check = next(check for check in self.plan.checks if check.id == TRAINS)
        return run_one(check, self.subject, self.plan)

    @cached_property
    def _runs(self) -> Result:
        check = next(check for check in self.plan.checks if check.id == RUNS)
        result = run_one(check, self.subject, self.plan)
        if result.failure is None:
            prime(self.subject)
        return result


def prime(subject: Subject) -> None:
    """Compute what checks share, before one of them changes the model."""
    states, flags = RandomStates(), read_flags()
    try:
        with warnings.catch_warnings(), suppress(Skip, Failure):
            warnings.simplefilter("ignore")
            _ = subject.reference, subject.output_axes
    finally:
        write_flags(flags)
        states.restore()
        subject.restore()


def run_one(check: Check, subject: Subject, plan: Plan) -> Result:
    """Run one check, whether selected or not, and return its result. The model is put back afterwards."""
    start = time.perf_counter()
    note, failure, skipped = "", None, None
    states, flags = RandomStates(), read_flags()
    try:
        with warnings.catch_warnings(), _limited(plan.timeout):
            warnings.simplefilter("ignore")  # the checks call things that torch warns of
            seed_everything(subject.seed)
            note = check(subject, **plan.params.get(check.id, {})) or ""
    except Skip as skip:
        skipped = str(skip)
    except Failure as caught:
        failure = caught
    except _Timeout:
        failure = Failure(f"did not end within {plan.timeout:g} s: timeout= allows more")
    except Exception as error:
        failure = Failure(f"the check itself broke: {type(error).__name__}: {error}", error=error)
    finally:
        write_flags(flags)
        states.restore()
        subject.restore()
    seconds = time.perf_counter() - start
    if skipped is not None:
        return Result(check.id, check.level, Status.SKIPPED, skipped, seconds=seconds)
    status, note = _judged(check, plan, failure, note)
    return Result(check.id, check.level, status, note, None if status is Status.SKIPPED else failure, seconds)


def _judged(check: Check, plan: Plan, failure: Failure | None, note: str) -> tuple[Status, str]:
    exemption = plan.exemptions.get(check.id)
    if failure is None:
        if exemption is not None:
            return Status.XPASSED, f"it does not fail any more: remove the exemption ({exemption.reason})"
        if check.level is Level.CAPABILITY and check.id not in plan.supports:
            return Status.PASSED, note or f'it works: supports={{"{check.id}"}} keeps it so'
        return Status.PASSED, note
    if exemption is not None:
        mismatch = exemption.mismatch(failure)
        if mismatch is None:
            return Status.XFAILED, exemption.reason
        return Status.FAILED, f"the exemption does not fit ({mismatch}): {exemption.reason}"
    if check.id in plan.supports:
        return Status.FAILED, "it is declared by supports="
    if check.level is Level.CAPABILITY:
        return Status.SKIPPED, f"not supported, and not declared: {failure.what}"
    if check.level is Level.MUST:
        return Status.FAILED, note
    return (Status.WARNED if check.level is Level.SHOULD else Status.PASSED), note


@contextmanager
def _limited(seconds: float | None) -> Generator[None]:
    """Interrupt the block after some seconds.

    A signal does it, so it works in the main thread of a Unix process only, and it waits for the end of the
    operation in progress. Elsewhere there is no limit.
    """
    usable = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    if seconds is None or not usable:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Timeout

    before = signal.signal(signal.SIGALRM, interrupt)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(
            signal.ITIMER_REAL, *timer
        )  # a limit that was there before, such as pytest-timeout's
        signal.signal(signal.SIGALRM, before)
