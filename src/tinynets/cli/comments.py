"""`tinynets comments`: shape comments in source files."""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from typing import Any

from .common import FAILED, IMPORTS, OK, USAGE, add_input, add_parser


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser = add_parser(
        commands,
        "comments",
        help="write or check shape comments",
        description="Keep comments such as `# [batch, 256]` in forward functions true.\n" + IMPORTS,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="say which comments are stale; change nothing")
    what.add_argument("--write", action="store_true", help="put missing and refresh stale comments")
    parser.add_argument("path", nargs="+", type=Path, help="Python files that define models")
    parser.add_argument("--factory", help="pkg.mod:make, which builds the model; else defaults are used")
    add_input(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check or write the comments of every file; the worst outcome is the exit code."""
    return max([_run_file(path, options) for path in options.path])


def _run_file(path: Path, options: argparse.Namespace) -> int:
    from .._explain.comments import find_comments, unseen_comments, write_comments
    from .._explain.explain_file import explain_file

    if not path.is_file():
        print(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}", file=sys.stderr)
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
