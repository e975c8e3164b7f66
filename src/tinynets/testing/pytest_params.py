"""`parametrize_checks` and `Case`: one pytest test for every check of every model, its id and label, and
which results are a skip, an xfail, a warning or a failure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from ..errors import ModelCheckWarning
from .definition import Check, list_checks
from .options import Options
from .plan import make_plan
from .report.results import UNNEEDED, Result, Status
from .runner import RUNS, Runner
from .suite import ModelOrFactory, prepare

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Case:
    """A model to check, and the label its test ids begin with.

    Args:
        label: the start of the test ids; the same in every run.
        model: a module, or a class or function that makes one.
        inputs: the arguments of `forward`, as `check_model` takes them.
        options: what is declared about the model.
    """

    label: str
    model: ModelOrFactory
    inputs: tuple[Any, ...] = ()
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class CaseCheck:
    """One check of one case: the argument of a test decorated by `parametrize_checks`."""

    case: Case
    check: Check

    @property
    def id(self) -> str:
        """The id of the test, without addresses, so that parallel runs agree on it."""
        return f"{self.case.label}-{self.check.id}"

    def __call__(self) -> Result:
        """Run the check; pass, fail, skip, xfail or warn as its result says."""
        import pytest

        __tracebackhide__ = True
        runner = _runner_of(self.case)
        before = runner.unneeded()
        result = runner.result(self.check)
        for name in runner.unneeded():
            if name not in before:
                warnings.warn(f"{self.case.label}: {UNNEEDED} {name!r}", ModelCheckWarning, stacklevel=2)
        if result.bad:
            pytest.fail(result.message, pytrace=False)
        if result.status is Status.SKIPPED:
            pytest.skip(result.note)
        if result.status is Status.XFAILED:
            pytest.xfail(result.note)
        if result.status in (Status.WARNED, Status.ERROR):
            warnings.warn(f"{self.id}: {result.message}", ModelCheckWarning, stacklevel=2)
        return result


_current: tuple[Case, Runner] | None = None


def _runner_of(case: Case) -> Runner:
    """Return the runner of a case. The last one is cached, since the tests of a case run in sequence."""
    global _current
    if _current is None or _current[0] is not case:
        _current = (case, Runner(*prepare(case.model, case.inputs, case.options)))
    return _current[1]


CaseLike = Case | ModelOrFactory | tuple[str, ModelOrFactory] | tuple[str, ModelOrFactory, tuple[Any, ...]]


def parametrize_checks(cases: Sequence[CaseLike]) -> pytest.MarkDecorator:
    """Parametrize a test by `check`: it runs once for every check of every case.

    Test ids are `label-group.check`, such as `test_net[tiny-batch.neighbour]`. A model is made when its first
    test runs. A check that does not apply is a skipped test, one that is expected to fail an xfail, and one
    that only warns a `ModelCheckWarning`.

    Args:
        cases: each a `Case`; a tuple of a label, a model or factory, and optionally inputs; or a model or
            factory alone, whose name is the label.

    Raises:
        ValueError: two cases have the same label.

    Examples:
        >>> @tn.testing.parametrize_checks([("linear", lambda: nn.Linear(4, 2), ("batch 4",))])
        ... def test_net(check):
        ...     check()
    """
    import pytest

    made = [_case(item, number) for number, item in enumerate(cases)]
    labels = [case.label for case in made]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"two cases have the label {label!r}: give each its own")
    checks = [CaseCheck(case, check) for case in made for check in selected_checks(case)]
    return pytest.mark.parametrize("check", [pytest.param(check, id=check.id) for check in checks])


def selected_checks(case: Case) -> list[Check]:
    """Return the checks that `groups=` and `checks=` of a case select, and always `runs.eval`."""
    checks = list_checks()
    plan = make_plan(checks, Options(groups=case.options.groups, checks=case.options.checks))
    return [check for check in checks if plan.includes(check) or check.id == RUNS]


def _case(item: CaseLike, number: int) -> Case:
    if isinstance(item, Case):
        return item
    if isinstance(item, tuple):
        label, model, inputs = cast("tuple[str, ModelOrFactory, tuple[Any, ...]]", (*item, ())[:3])
        return Case(label, model, inputs)
    return Case(_label(item, number), item)


def _label(model: nn.Module | Callable[[], nn.Module], number: int) -> str:
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", "")
    return name if name.isidentifier() else f"model{number}"
