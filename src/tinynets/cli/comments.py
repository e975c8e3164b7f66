"""`tinynets comments`: `--check`, `--write`, `--diff` and `--factory`, which files of a folder are processed,
the lines that it prints, the progress bar, and the exit code.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .common import FAILED, IMPORTS, OK, USAGE, add_input, add_parser

_DESCRIPTION = """\
Keep comments such as `# [batch, 256]` true, in `forward` functions and in the methods that they call. Of a
folder, every Python file with a class that has a `forward` is looked at; hidden folders are left out.
"""
_EXAMPLES = """\
examples:
  tinynets comments --check src
  tinynets comments --diff nets.py --input "batch 3 32 32"
  tinynets comments --write nets.py --factory nets:make_model
"""


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser = add_parser(
        commands,
        "comments",
        help="write or check shape comments",
        description=_DESCRIPTION + IMPORTS,
        examples=_EXAMPLES,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="say which comments are stale; change nothing")
    what.add_argument("--write", action="store_true", help="put missing and refresh stale comments")
    what.add_argument("--diff", action="store_true", help="show what --write would change; change nothing")
    parser.add_argument("path", nargs="+", type=Path, help="Python files that define models, or folders")
    parser.add_argument("--factory", help="pkg.mod:make, which builds the model; else defaults are used")
    add_input(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check or write the comments of every file; return the exit code of the worst outcome."""
    files = [file for path in options.path for file in _files(path)]
    return max([OK, *(_run_file(path, options) for path in _with_progress(files))])


def _files(path: Path) -> Iterator[Path]:
    from .._explain.comments import defines_models

    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*.py")):
        if any(part.startswith(".") for part in file.relative_to(path).parts):
            continue
        try:
            if defines_models(file.read_bytes()):
                yield file
        except (SyntaxError, ValueError):
            yield file  # reported below


def _with_progress(files: list[Path]) -> Iterator[Path]:
    """Yield the files, with a progress bar if stderr is a terminal and rich is installed."""
    if len(files) < 2 or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield from files
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    # Printed lines go above the bar, unless stdout is redirected to a file.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=len(files))
        for file in files:
            bar.update(task, description=str(file))
            yield file
            bar.advance(task)


def _run_file(path: Path, options: argparse.Namespace) -> int:
    from .._explain.comments import comments_diff, find_comments, unseen_comments, write_comments
    from .._explain.explain_file import explain_file

    if not path.is_file():
        print(f"{path}: no such file", file=sys.stderr)
        return USAGE
    try:
        ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        print(f"{path}:{line}: no Python: {getattr(error, 'msg', error)}", file=sys.stderr)
        return USAGE
    explanations, problems = explain_file(path, *options.input, factory=options.factory)
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    if problems and not explanations and not options.check:
        return USAGE
    findings = find_comments(path, explanations)
    if options.diff:
        diff = comments_diff(path, findings)
        print(diff, end="")
        return FAILED if diff else OK
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
