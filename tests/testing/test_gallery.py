"""Every check flags the bugs that it is for, says where they are, and passes the same model mended.

What it says is kept in a golden file, its numbers left out: `TINYNETS_OVERWRITE=1 pytest` writes it anew.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

import tinynets as tn
from tinynets._torch.state.global_flags import read_flags, write_flags
from tinynets.testing.options import Options
from tinynets.testing.report.results import Result
from tinynets.testing.runner import precompute, run_one
from tinynets.testing.suite import prepare

from . import gallery
from .gallery.bug import Bug

GOLDEN = Path(__file__).parent / "goldens" / "messages.json"
MESSAGES: dict[str, list[str]] = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
CHECKS = {check.id: check for check in tn.testing.list_checks()}
BUGS: list[Bug] = [
    bug
    for module in pkgutil.iter_modules(gallery.__path__)
    for bug in getattr(importlib.import_module(f"{gallery.__name__}.{module.name}"), "BUGS", [])
]


def result(bug: Bug, factory: Callable[[], nn.Module]) -> Result:
    flags = read_flags()
    try:
        subject, plan = prepare(factory() if bug.single else factory, bug.inputs, Options(**bug.options))
        if not CHECKS[bug.check].static:
            precompute(subject)
        return run_one(CHECKS[bug.check], subject, plan)
    finally:
        write_flags(flags)


def without_numbers(message: str) -> list[str]:
    """The lines of a message, every number a `#` and every path its last part: neither is the same elsewhere."""
    message = re.sub(r"[\w./-]*/(?=\w+\.py)", "", message)
    return re.sub(r"(?<![\w.])-?\d[\d,]*(\.\d+)?(e[+-]?\d+)?|(?<=:)\d+", "#", message).split("\n")


def marked(bug: Bug):
    return pytest.param(bug, id=bug.label, marks=[pytest.mark.slow] if CHECKS[bug.check].slow else [])


@pytest.mark.parametrize("bug", [marked(bug) for bug in BUGS])
def test_the_bug_is_flagged_and_the_mended_model_is_not(bug: Bug):
    flagged = result(bug, bug.broken)
    assert flagged.failure is not None or flagged.note.startswith("not supported"), f"not flagged: {flagged}"
    assert bug.says in flagged.message, flagged.message
    assert "could not judge" not in flagged.message, flagged.message
    if os.environ.get("TINYNETS_OVERWRITE"):
        MESSAGES[bug.label] = without_numbers(flagged.message)
        labels = {bug.label for bug in BUGS}
        kept = {label: lines for label, lines in sorted(MESSAGES.items()) if label in labels}
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert without_numbers(flagged.message) == MESSAGES.get(bug.label)
    mended = result(bug, bug.mended)
    assert mended.status == "passed", mended.message


def test_every_check_has_a_bug_and_every_label_is_its_own():
    assert set(CHECKS) == {bug.check for bug in BUGS}
    assert len({bug.label for bug in BUGS}) == len(BUGS)
    assert set(MESSAGES) == {bug.label for bug in BUGS}
