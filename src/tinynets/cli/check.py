"""`tinynets check`: the conformance checks."""

from __future__ import annotations

import argparse
from typing import Any

from .common import FAILED, OK, RUNS, UNJUDGED, add_input, add_parser, usage_errors

_EXAMPLES = """\
examples:
  tinynets check cifar_mlp
  tinynets check nets.py:Net --input "batch 3 32 32" --format junit > report.xml
  tinynets check --about batch.neighbour
"""


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser = add_parser(
        commands,
        "check",
        help="run the conformance checks on a model",
        description="Check a model: batch, modes, purity, gradients, state, dtypes, transforms.\n" + RUNS,
        examples=_EXAMPLES,
    )
    parser.add_argument("target", nargs="?", help="a name of the zoo, pkg.mod:Model, or file.py:make_model")
    add_input(parser)
    parser.add_argument("--group", action="append", metavar="NAME", help="only this group, once for each")
    parser.add_argument("--slow", action="store_true", help="run also the checks that take seconds")
    parser.add_argument(
        "--supports", action="append", default=[], metavar="ID", help="a capability that the model is to have"
    )
    parser.add_argument("--format", choices=["table", "json", "junit", "markdown"], default="table")
    parser.add_argument("--about", metavar="ID", help="say what a check is for and what to do; check nothing")
    parser.set_defaults(run=_exit_code)


def _exit_code(options: argparse.Namespace) -> int:
    with usage_errors(TypeError, ValueError):
        return run(options)


def run(options: argparse.Namespace) -> int:
    """Check a model and print the report, or print the page of a check; return the exit code.

    Raises:
        TypeError, ValueError: the command line does not say what to check, or says it wrong.
    """
    from ..inputs.targets import load_target
    from ..testing.check_ids import resolve_id
    from ..testing.discovery import list_checks
    from ..testing.options import Options
    from ..testing.pages import base_id, page
    from ..testing.report.results import Status
    from ..testing.suite import run_checks

    if options.about:
        found = {key: check for check in list_checks() for key in (base_id(check), check.id)}
        print(page(found[resolve_id(options.about, found, "--about")]), end="")
        return OK
    if not options.target:
        raise ValueError("name a model to check, such as resnet20 or nets.py:Net")
    selected = Options(groups=options.group, slow=options.slow, supports=options.supports)
    report = run_checks(load_target(options.target), tuple(options.input), selected)
    formats = {"json": report.to_json, "junit": report.to_junit, "markdown": report.to_markdown}
    if options.format in formats:
        print(formats[options.format](), end="")
    else:
        report.print()
    if any(result.bad and result.status is not Status.ERROR for result in report):
        return FAILED
    return OK if report.ok else UNJUDGED
