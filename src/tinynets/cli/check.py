"""`tinynets check`: its options (`--group`, `--slow`, `--supports`, `--exempt`, `--argument`, `--format`,
`--about`, `--list`), the lines for a project's models, and the exit code.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .common import FAILED, OK, RUNS, UNJUDGED, add_input, add_parser, usage_errors

if TYPE_CHECKING:
    from ..testing.pytest_params import Case
    from ..testing.report.report import Report

_EXAMPLES = """\
examples:
  tinynets check cifar_mlp
  tinynets check nets.py:Net --input "batch 3 32 32" --format junit > report.xml
  tinynets check nets.py:Net --argument width=8 --batch-axis 1 --exempt "state.init=the head starts at zero"
  tinynets check
  tinynets check --list
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
    parser.add_argument(
        "target",
        nargs="?",
        help="a name of the zoo, pkg.mod:Model, or file.py:make_model; all models that [tool.tinynets] in"
        " pyproject.toml names if left out",
    )
    add_input(parser)

    def several(flag: str, metavar: str, help: str) -> None:
        parser.add_argument(
            flag, action="append", default=[], metavar=metavar, help=f"{help}; may be repeated"
        )

    several("--group", "NAME", "only this group, id or glob, such as batch or '*.threads'")
    parser.add_argument("--slow", action="store_true", help="run also the checks that take seconds")
    several("--supports", "ID", "a capability that the model is to have")
    several("--exempt", "ID=REASON", "a check that is known to fail, by id or glob, and why")
    several("--argument", "NAME=VALUE", "an argument of the class or function that makes the model")
    several("--batch-axis", "AXIS", "the axis that counts samples, for all tensors or for each, or none")
    parser.add_argument("--timeout", type=float, help="seconds of the processor for one check (default: 30)")
    parser.add_argument("--format", choices=["table", "json", "junit", "markdown"], default="table")
    parser.add_argument("--about", metavar="ID", help="say what a check is for and what to do; check nothing")
    parser.add_argument("--list", action="store_true", help="name every check; check nothing")
    parser.set_defaults(run=run)


@usage_errors(TypeError, ValueError)
def run(options: argparse.Namespace) -> int:
    """Check models and print the reports, or print the page of a check; return the exit code.

    Raises:
        TargetError: the command line does not say what to check, or says it wrong.
    """
    from ..testing.check_ids import resolve_id
    from ..testing.definition import list_checks
    from ..testing.options import Options
    from ..testing.pages import base_id, page
    from ..testing.project import (
        for_all_models,
        parse_arguments,
        parse_axes,
        parse_pairs,
        project_cases,
        target_case,
    )
    from ..testing.suite import run_checks

    if options.list:
        for check in list_checks():
            print(f"{check.id:34} {check.level}")
        return OK
    if options.about:
        found = {key: check for check in list_checks() for key in (base_id(check), check.id)}
        print(page(found[resolve_id(options.about, found, "--about")]), end="")
        return OK
    if not options.target:
        _refuse_options_of_one_model(options)
        said = {"groups": options.group, "slow": options.slow, "timeout": options.timeout}
        return _run_project(for_all_models(project_cases(), **said))
    selected = Options(
        groups=options.group or None,
        slow=options.slow,
        supports=options.supports,
        expected_failures=parse_pairs(options.exempt, "--exempt"),
        batch_axes=parse_axes(options.batch_axis, "--batch-axis"),
        timeout=Options().timeout if options.timeout is None else options.timeout,
    )
    arguments = parse_arguments(options.argument, "--argument")
    case = target_case(options.target, options.input, arguments=arguments, options=selected)
    report = run_checks(case.model, case.inputs, case.options)
    formats = {"json": report.to_json, "junit": report.to_junit, "markdown": report.to_markdown}
    if options.format in formats:
        print(formats[options.format](), end="")
    else:
        report.print()
    return _code(report)


def _refuse_options_of_one_model(options: argparse.Namespace) -> None:
    given = {
        "--input": options.input,
        "--supports": options.supports,
        "--exempt": options.exempt,
        "--argument": options.argument,
        "--batch-axis": options.batch_axis,
        "--format": options.format != "table",
    }
    for flag, value in given.items():
        if value:
            text = f"{flag} needs a target: without one, the models that pyproject.toml names are checked"
            raise ValueError(text)


def _run_project(cases: list[Case]) -> int:
    """Check all models of a project; print a line for each, followed by its failed checks."""
    from ..testing.suite import run_checks

    codes: list[int] = []
    for case in cases:
        try:
            report = run_checks(case.model, case.inputs, case.options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{case.label}: {error}") from None
        codes.append(_code(report))
        first, *rest = repr(report).splitlines()
        print("\n  ".join([f"{case.label} {first}", *rest]), flush=True)
    order = [OK, UNJUDGED, FAILED]
    return max(codes, key=order.index)


def _code(report: Report) -> int:
    if report.ok:
        return OK
    return UNJUDGED if all(result.status == "error" for result in report.bad) else FAILED
