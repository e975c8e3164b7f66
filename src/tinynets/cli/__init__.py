"""The command `tinynets`: list the zoo, explain and check models, keep shape comments true."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from .export import add_command as add_export
from .show import add_command as add_show

_EXIT_CODES = """
exit codes:
  0  all is well
  1  the forward pass or a check failed, or a shape comment is stale
  2  the command line is wrong, or no model could be built from it
"""
_IMPORTS = """
Your code is imported, and so run: whatever it does at import, it does here. The model itself runs on tensors
without values; no weight is read and nothing is computed.
"""
_RUNS = """
Your code is imported, and so run, and the model is run on random inputs.
"""
OK, FAILED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the words after `tinynets`; those of this process if None.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    from ..errors import TargetError

    try:
        return options.run(options)
    except TargetError as error:
        print(f"tinynets: {error}", file=sys.stderr)
        return USAGE


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("tinynets", description=__doc__, epilog=_EXIT_CODES, formatter_class=raw)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="name the models of the zoo")
    listing.add_argument("--family", help="only one family, such as residual")
    listing.add_argument("--image-size", type=int, help="only models that take such images")
    listing.set_defaults(run=_list)

    explain = commands.add_parser(
        "explain",
        help="show a forward pass line by line",
        description="Show a forward pass line by line, with the shape that every line makes.\n" + _IMPORTS,
        epilog="examples:\n  tinynets explain cifar_mlp --mode both\n"
        '  tinynets explain nets.py:Net --input "batch 3 32 32"\n'
        '  tinynets explain torchvision.models:resnet18 --input "batch 3 224 224" --html net.html\n'
        + _EXIT_CODES,
        formatter_class=raw,
    )
    explain.add_argument("target", help="a name of the zoo, pkg.mod:Model, or file.py:make_model")
    _add_input(explain)
    explain.add_argument(
        "--depth", type=_depth, default=1, help="levels of modules to show, or 'all' (default: 1)"
    )
    explain.add_argument(
        "--mode",
        choices=["as-is", "train", "eval", "both"],
        help="default: as-is; both with --html, so that the page can switch",
    )
    explain.add_argument("--real", action="store_true", help="run on real tensors instead of fake ones")
    explain.add_argument("--format", choices=["text", "markdown", "json"], default="text")
    explain.add_argument("--html", metavar="PATH", help="write one page for a browser instead")
    explain.set_defaults(run=_explain)

    check = commands.add_parser(
        "check",
        help="run the conformance checks on a model",
        description="Check a model: batch, modes, purity, gradients, state, dtypes, transforms.\n" + _RUNS,
        epilog="examples:\n  tinynets check cifar_mlp\n"
        '  tinynets check nets.py:Net --input "batch 3 32 32" --format junit > report.xml\n'
        "  tinynets check --about batch.neighbour\n" + _EXIT_CODES,
        formatter_class=raw,
    )
    check.add_argument("target", nargs="?", help="a name of the zoo, pkg.mod:Model, or file.py:make_model")
    _add_input(check)
    check.add_argument("--group", action="append", metavar="NAME", help="only this group, once for each")
    check.add_argument("--slow", action="store_true", help="run also the checks that take seconds")
    check.add_argument(
        "--supports", action="append", default=[], metavar="ID", help="a capability that the model is to have"
    )
    check.add_argument("--format", choices=["table", "json", "junit", "markdown"], default="table")
    check.add_argument("--about", metavar="ID", help="say what a check is for and what to do; check nothing")
    check.set_defaults(run=_check)

    comments = commands.add_parser(
        "comments",
        help="write or check shape comments",
        description="Keep comments such as `# [batch, 256]` in forward functions true.\n" + _IMPORTS,
        epilog=_EXIT_CODES,
        formatter_class=raw,
    )
    what = comments.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="say which comments are stale; change nothing")
    what.add_argument("--write", action="store_true", help="put missing and refresh stale comments")
    comments.add_argument("path", nargs="+", type=Path, help="Python files that define models")
    comments.add_argument("--factory", help="pkg.mod:make, which builds the model; else defaults are used")
    _add_input(comments)
    comments.set_defaults(run=_comments)

    _add_input(add_export(commands, _EXIT_CODES))
    add_show(commands, _EXIT_CODES)
    return parser


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SHAPE",
        help='shape of an input, once for each: "batch 3 32 32", "batch=8 tokens=77 64", "int64[batch 77]";'
        " not needed where forward is annotated",
    )


def _depth(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1, or 'all', got {text!r}")
    return int(text)


def _list(options: argparse.Namespace) -> int:
    from ..models import list_models

    try:
        names = list_models(family=options.family, image_size=options.image_size)
    except ValueError as error:
        print(f"tinynets: {error}", file=sys.stderr)
        return USAGE
    print("\n".join(names))
    return OK


def _explain(options: argparse.Namespace) -> int:
    from .._explain.explain import explain
    from ..inputs.targets import load_model

    mode: str = options.mode or ("both" if options.html else "as-is")
    chosen: dict[str, list[str] | None] = {"as-is": None, "both": ["train", "eval"]}
    modes = cast("list[Literal['train', 'eval']] | None", chosen.get(mode, [mode]))
    try:
        explanation = explain(
            load_model(options.target),
            *options.input,
            depth=options.depth,
            on="real" if options.real else "fake",
            modes=modes,
        )
    except (TypeError, ValueError) as error:
        print(f"tinynets: {error}", file=sys.stderr)
        return USAGE
    if options.html:
        try:
            print(explanation.to_html(options.html))
        except OSError as error:
            print(f"tinynets: {options.html} cannot be written: {error.strerror}", file=sys.stderr)
            return USAGE
    elif options.format == "json":
        print(explanation.to_json())
    elif options.format == "markdown":
        print(explanation.to_markdown(), end="")
    else:
        explanation.print()
    return FAILED if explanation.failed else OK


def _check(options: argparse.Namespace) -> int:
    from .check import run

    try:
        return FAILED if run(options) else OK
    except (TypeError, ValueError) as error:
        print(f"tinynets: {error}", file=sys.stderr)
        return USAGE


def _comments(options: argparse.Namespace) -> int:
    results = [_comments_of(path, options) for path in options.path]
    return max(results)


def _comments_of(path: Path, options: argparse.Namespace) -> int:
    from .._explain.comments import find_comments, unseen_comments, write_comments

    if not path.is_file():
        print(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}", file=sys.stderr)
        return USAGE
    try:
        ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        print(f"{path}:{line}: no Python: {getattr(error, 'msg', error)}", file=sys.stderr)
        return USAGE
    explanations, problems = _explanations(path, options)
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    if problems and not explanations and options.write:
        return USAGE
    findings = find_comments(path, explanations)
    if options.write:
        if write_comments(path, findings):
            print(f"{path}: {len(findings)} comments written")
        return OK
    stale = [finding for finding in findings if finding.written]
    for finding in stale:
        print(f"{path}:{finding.line}: {finding.written} should be {finding.right}: {finding.code}")
    unseen = unseen_comments(path, explanations) if problems else []
    if unseen:
        print(f"{path}: not checked: the comments of lines {', '.join(map(str, unseen))}", file=sys.stderr)
    return FAILED if stale else USAGE if unseen or (problems and options.factory) else OK


def _explanations(path: Path, options: argparse.Namespace) -> tuple[list[Any], list[str]]:
    """Explain every model that a file defines; a second list says which could not be, and why."""
    from .._explain.explain import explain
    from ..errors import TargetError
    from ..inputs.targets import build, import_file, load_model, models_in

    problems: list[str] = []
    try:
        module = import_file(path)
    except TargetError as error:
        return [], [str(error)]
    if options.factory:
        sources: list[Any] = [lambda: load_model(options.factory)]
        names = [options.factory]
    else:
        kinds = list(models_in(module))
        sources = [lambda kind=kind: build(kind, kind.__name__) for kind in kinds]
        names = [kind.__name__ for kind in kinds]
    explanations: list[Any] = []
    for name, make in zip(names, sources, strict=True):
        try:
            explanation = explain(make(), *options.input, modes=("train", "eval"))
        except TargetError as error:
            hint = "" if options.factory else ", and give it as --factory"
            problems.append(f"{name} not looked at: {error}{hint}")
        except Exception as error:  # whatever a constructor does
            problems.append(f"{name} not looked at: {type(error).__name__}: {error}")
        else:
            errors = [run.error.splitlines()[0] for run in explanation.runs if run.error]
            if errors:  # the input may be wrong for this model: what it shows is not held against a comment
                problems.append(f"{name} failed: {errors[0]}")
            else:
                explanations.append(explanation)
    return explanations, problems
