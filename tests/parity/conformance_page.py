"""The page of what `check_model` finds in models of torchvision and timm.

Run `python -m tests.parity.conformance_page` in the environment of `make parity`; it takes ten minutes.
"""

from __future__ import annotations

import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch

import tinynets as tn
from tinynets.testing.definition import Level
from tinynets.testing.report.report import Report

from .conformance_flags import FLAGS
from .conformance_nets import NETS

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
INTRODUCTION = """\
# Checked models

What [`check_model`](testing.md) finds in {number} models of torchvision {torchvision} and timm {timm}, with
torch {torch}: each in a small size and as it is initialised, all checks, the slow ones too. {clean} models pass
every check that applies to them. What is found in the others is explained here; `make parity` holds this page
to it.

An objection at the level *must* is a failure, one at the level *should* a warning. What is skipped does not
apply (no dropout to look for, no integers among the inputs), runs only where it is asked for, or is a capability
that the model has not and nobody declared.

## What was found

{flags}

## How every model did

Seconds are those of one thread of the processor.

{rows}
"""
WILD = "\n## Architectures of other packages\n"
HEADER = ("Model", "Passed", "Warned", "Failed", "Skipped", "Seconds")
LEVELS = {check.id: check.level for check in tn.testing.list_checks()}


class Row(NamedTuple):
    """What became of the checks of one model."""

    name: str
    passed: int
    warned: int
    failed: int
    skipped: int

    @classmethod
    def of(cls, name: str, report: Report) -> Row:
        """Count; an objection that is explained is counted by its level."""
        levels = [result.level for result in report.with_status("xfailed", "failed", "warned")]
        count, must = report.counts, levels.count(Level.MUST)
        return cls(name, count.get("passed", 0), len(levels) - must, must, count.get("skipped", 0))

    @property
    def counts(self) -> str:
        """The cells that are the same in every run."""
        return " | ".join(map(str, self))


def checked(name: str) -> Report:
    """Check a model, with what is explained as exemptions."""
    net = NETS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their constructors
        return tn.testing.check_model(
            net.make,
            *net.inputs,
            slow=True,
            expected_failures=FLAGS.get(name, {}),
            on_fail="collect",
            timeout=None,
        )


def flag_table() -> str:
    """Return the table of objections."""
    rows = [
        (name, f"[`{id}`](checks/{id}.md)", LEVELS[id].value, flag.reason)
        for name, flags in FLAGS.items()
        for id, flag in sorted(flags.items())
    ]
    return table(("Model", "Check", "Level", "Why"), rows)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Lay out a table in Markdown."""
    rule = tuple("--" for _ in header)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def main() -> None:
    """Check every model and write the page."""
    torch.set_num_threads(1)
    rows: list[tuple[str, ...]] = []
    for name in NETS:
        start = time.process_time()
        report = checked(name)
        seconds = time.process_time() - start
        rows.append((*Row.of(name, report).counts.split(" | "), f"{seconds:.1f}"))
        print(" | ".join(rows[-1]), flush=True)
        for result in report.with_status("failed", "warned", "xpassed"):
            print(f"not explained: {result.id}: {result.message}", flush=True)
    versions = {package: version(package).partition("+")[0] for package in ("torch", "torchvision", "timm")}
    text = INTRODUCTION.format(
        number=len(NETS),
        clean=len(NETS) - len(FLAGS),
        flags=flag_table(),
        rows=table(HEADER, rows),
        **versions,
    )
    _, mark, rest = PAGE.read_text().partition(WILD)  # which `make conformance-wild` writes
    PAGE.write_text(text + mark + rest)


if __name__ == "__main__":
    main()
