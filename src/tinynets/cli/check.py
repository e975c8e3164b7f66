"""`tinynets check`: the checks from the command line."""

from __future__ import annotations

import argparse

from ..inputs.targets import load_target
from ..testing.check_ids import resolve_id
from ..testing.discovery import list_checks
from ..testing.options import Options
from ..testing.pages import base_id, page
from ..testing.suite import run_checks


def run(options: argparse.Namespace) -> bool:
    """Check a model and print the report, or print the page of a check; return whether something failed.

    Raises:
        TypeError, ValueError: the command line does not say what to check, or says it wrong.
    """
    if options.about:
        found = {key: check for check in list_checks() for key in (base_id(check), check.id)}
        print(page(found[resolve_id(options.about, found, "--about")]), end="")
        return False
    if not options.target:
        raise ValueError("name a model to check, such as resnet20 or nets.py:Net")
    selected = Options(groups=options.group, slow=options.slow, supports=options.supports)
    report = run_checks(load_target(options.target), tuple(options.input), selected)
    formats = {"json": report.to_json, "junit": report.to_junit, "markdown": report.to_markdown}
    if options.format in formats:
        print(formats[options.format](), end="")
    else:
        report.print()
    return not report.ok
