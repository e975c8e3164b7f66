"""Run the checks, isolated and seeded, with a time limit: the status of each by level, exemption and
`supports`, the checks that follow from another, and those skipped if the model does not run.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property

from .._torch.state.global_flags import read_flags, write_flags
from .._torch.state.random_states import preserved_random_states, seed_everything
from ..errors import CheckTimeout, Failure, Skip
from .definition import Check, Level
from .measure.model_errors import raised
from .measure.time_limit import time_limit
from .plan import Plan
from .report.results import Result, Status
from .report.root_causes import roots_of
from .subject import Subject

RUNS = "runs.eval"
"""The check that says whether the model runs at all: if it fails, the others do not run."""

TRAINS = "runs.train"
"""The same in training mode: other checks that fail in the same way do not report it again."""

UNJUDGED = "tinynets could not judge this"
"""The start of the message of a check that broke or ran out of time."""


class Runner:
    """Runs the checks of one model, each on request."""

    def __init__(self, subject: Subject, plan: Plan) -> None:
        self.subject = subject
        self.plan = plan
        self._results: dict[str, Result] = {}

    def results(self, callback: Callable[[Result], object] | None = None) -> Iterator[Result]:
        """Run every selected check, in order, and yield its result.

        A model that does not run is reported, whatever is selected.
        """
        for check in self.plan.ordered():
            result = self.result(check)
            if callback is not None:
                callback(result)
            yield result
        runs = self._check(RUNS)
        if not self.plan.includes(runs) and self._runs.status is not Status.PASSED:
            yield self._runs

    def result(self, check: Check) -> Result:
        """Return the result of one check, which runs once unless it is not selected or does not apply."""
        if check.id not in self._results:
            result = self._result(check)
            objects = result.status in (Status.FAILED, Status.WARNED)
            self._results[check.id] = (self._explained(result) or result) if objects else result
        return self._results[check.id]

    def unneeded(self) -> list[str]:
        """Return the exemptions for several checks that none of these needs, once all of them have run."""
        return [key for key, ids in self.plan.patterns.items() if self._is_unneeded(ids)]

    def _is_unneeded(self, ids: frozenset[str]) -> bool:
        for check in self.plan.checks:
            slow = getattr(check, "slow", False) and self.plan.unselected(check) is not None
            if check.id in ids and (slow or check.id not in self._results):
                return False
        statuses = {"follows" if self._results[id].follows else self._results[id].status for id in ids}
        return Status.PASSED in statuses and statuses <= {Status.PASSED, Status.SKIPPED}

    def _result(self, check: Check) -> Result:
        reason = self.plan.unselected(check)
        if check.id == RUNS and (reason is None or self._runs.failure is not None):
            return self._runs
        needs_values = not (getattr(check, "static", False) or getattr(check, "valueless", False))
        if reason is None and needs_values and self.subject.on_meta:
            reason = "the model is on the meta device: it has shapes and no values"
        if reason is None and not getattr(check, "static", False) and self._runs.failure is not None:
            reason = f"the model does not run: see {RUNS}"
        if reason is not None:
            return Result(check.id, check.level, Status.SKIPPED, reason)
        if check.id == TRAINS:
            return self._trains
        result = run_one(check, self.subject, self.plan)
        if result.status in (Status.FAILED, Status.WARNED) and self._is_of_training(result.failure):
            note = f"the model does not run in training mode: see {TRAINS}"
            return Result(check.id, check.level, Status.SKIPPED, note, seconds=result.seconds, follows=TRAINS)
        return result

    def _explained(self, result: Result) -> Result | None:
        """Return the result as a consequence of another one, if the failure of that one explains it.

        A warning or an exempted failure explains only warnings.
        """
        by_id = {check.id: check for check in self.plan.checks if self.plan.includes(check)}
        for id in roots_of(result.id):
            if id not in by_id or self.plan.unselected(by_id[id]) is not None:
                continue
            root = self.result(by_id[id])
            if root.follows in by_id:
                root = self.result(by_id[root.follows])
            mild = root.status in (Status.WARNED, Status.XFAILED) and result.status is Status.WARNED
            explains = root.status is Status.FAILED or mild
            if explains and result.failure is not None:
                note = f"follows from {root.id}: {result.failure.what}"
                return replace(result, status=Status.SKIPPED, note=note, follows=root.id)
        return None

    def _is_of_training(self, failure: Failure | None) -> bool:
        """Return whether a check fails only because the model raises in training mode, reported elsewhere."""
        if failure is None or failure.error is None or all(check.id != TRAINS for check in self.plan.checks):
            return False
        known = self._trains.failure
        return known is not None and (known.what, known.where) == (failure.what, failure.where)

    @cached_property
    def _trains(self) -> Result:
        return run_one(self._check(TRAINS), self.subject, self.plan)

    @cached_property
    def _runs(self) -> Result:
        result = run_one(self._check(RUNS), self.subject, self.plan)
        if result.failure is None:
            precompute(self.subject)
        return result

    def _check(self, id: str) -> Check:
        return next(check for check in self.plan.checks if check.id == id)


def precompute(subject: Subject) -> None:
    """Compute the outputs that checks share, before one of them changes the model."""
    with suppress(Skip, Failure), _isolated(subject):
        _ = subject.reference, subject.output_axes


def run_one(check: Check, subject: Subject, plan: Plan) -> Result:
    """Run one check, selected or not, and return its result. The model is restored afterwards."""
    start = time.perf_counter()
    status, note, failure = Status.ERROR, "", None
    try:
        with _isolated(subject), time_limit(plan.options.timeout):
            seed_everything(subject.seed)
            note = check(subject, **plan.options.params.get(check.id, {})) or ""
        status, note = _judged(check, plan, None, note)
    except Skip as skip:
        status, note = Status.SKIPPED, str(skip)
    except Failure as caught:
        status, note = _judged(check, plan, caught, "")
        failure = None if status is Status.SKIPPED else caught
    except CheckTimeout as limit:
        failure = Failure(f"{UNJUDGED}: {limit}")
    except Exception as error:
        failure = raised(error, f"{UNJUDGED}: the check raised", own=True)
    return Result(check.id, check.level, status, note, failure, time.perf_counter() - start)


def _judged(check: Check, plan: Plan, failure: Failure | None, note: str) -> tuple[Status, str]:
    exemption = plan.exemptions.get(check.id)
    if failure is None:
        if exemption is not None and check.id in plan.held:
            return Status.XPASSED, f"it does not fail any more: remove the exemption ({exemption.reason})"
        if check.level is Level.CAPABILITY and check.id not in plan.options.supports:
            return Status.PASSED, note or f'it works: supports={{"{check.id}"}} keeps it so'
        return Status.PASSED, note
    if exemption is not None:
        mismatch = exemption.mismatch(failure)
        if mismatch is None:
            return Status.XFAILED, exemption.reason
        return Status.FAILED, f"the exemption does not fit ({mismatch}): {exemption.reason}"
    if check.id in plan.options.supports:
        return Status.FAILED, "it is declared by supports="
    if check.level is Level.CAPABILITY:
        return Status.SKIPPED, f"not supported, and not declared: {failure.what}"
    if check.level is Level.MUST:
        return Status.FAILED, note
    return (Status.WARNED if check.level is Level.SHOULD else Status.PASSED), note


@contextmanager
def _isolated(subject: Subject) -> Generator[None]:
    """Restore the model, the generators and the global flags after the block; ignore warnings in it."""
    try:
        with preserved_globals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the checks call functions that torch warns about
            yield
    finally:
        subject.restore()


@contextmanager
def preserved_globals() -> Generator[None]:
    """Restore the generators and the global flags after the block."""
    with preserved_random_states():
        flags = read_flags()
        try:
            yield
        finally:
            write_flags(flags)
