"""The command `tinynets`: list the zoo, explain and check models, keep shape comments true."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .._version import __version__
from ..errors import TargetError
from .common import EXIT_CODES, OK, USAGE

INTERRUPTED, CLOSED_PIPE = 128 + 2, 128 + 13  # the exit codes of shells for SIGINT and SIGPIPE
# One file per command, which imports its part of the library when it runs.
COMMANDS = ("list", "explain", "prove", "check", "comments", "export", "show", "audit")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command on the words after `tinynets`, those of this process if None; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return OK
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except TargetError as error:
        print(f"tinynets: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("tinynets: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # as in `tinynets list | head -1`
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python flushes stdout when it exits
        os.close(nowhere)
        return CLOSED_PIPE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tinynets",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tinynets {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name in COMMANDS:
        import_module(f".{name}", __name__).add_command(commands)
    return parser
