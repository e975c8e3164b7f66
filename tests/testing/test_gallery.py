"""Every check flags the bugs that it is for, says where they are, and passes the same model mended."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import pytest
from torch import nn

import tinynets as tn
from tinynets.testing.check import Options, prepare
from tinynets.testing.report import Result
from tinynets.testing.runner import prime, run_one

from . import gallery
from .gallery.bug import Bug

CHECKS = {check.id: check for check in tn.testing.list_checks()}
BUGS: list[Bug] = [
    bug
    for module in pkgutil.iter_modules(gallery.__path__)
    for bug in getattr(importlib.import_module(f"{gallery.__name__}.{module.name}"), "BUGS", [])
]


def result(bug: Bug, factory: Callable[[], nn.Module]) -> Result:
    subject, plan = prepare(factory() if bug.single else factory, bug.inputs, Options(**bug.options))
    if not CHECKS[bug.check].static:
        prime(subject)
    return run_one(CHECKS[bug.check], subject, plan)


def marked(bug: Bug):
    return pytest.param(bug, id=bug.label, marks=[pytest.mark.slow] if CHECKS[bug.check].slow else [])


@pytest.mark.parametrize("bug", [marked(bug) for bug in BUGS])
def test_the_bug_is_flagged_and_the_mended_model_is_not(bug: Bug):
    flagged = result(bug, bug.broken)
    assert flagged.failure is not None or flagged.note.startswith("not supported"), f"not flagged: {flagged}"
    assert bug.says in flagged.message, flagged.message
    assert "the check itself broke" not in flagged.message, flagged.message
    mended = result(bug, bug.mended)
    assert mended.status == "passed", mended.message


def test_every_check_has_a_bug_and_every_label_is_its_own():
    assert set(CHECKS) == {bug.check for bug in BUGS}
    assert len({bug.label for bug in BUGS}) == len(BUGS)
