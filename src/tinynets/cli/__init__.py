"""The command `tinynets`: list the zoo, explain and check models, keep shape comments true."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from ..errors import TargetError
from .common import EXIT_CODES, USAGE

# A file each, which imports its room when it runs.
COMMANDS = ("list", "explain", "check", "comments", "export", "show")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the words after `tinynets`; those of this process if None.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except TargetError as error:
        print(f"tinynets: {error}", file=sys.stderr)
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tinynets",
        description=__doc__,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f".{name}", __name__).add_command(commands)
    return parser
