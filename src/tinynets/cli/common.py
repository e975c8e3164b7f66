"""What subcommands share: the exit codes and their help text, the option `--input`, and how an error of the
command line becomes one line.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Generator
from typing import Any

from ..errors import TargetError

OK, FAILED, USAGE, UNJUDGED = 0, 1, 2, 3
EXIT_CODES = """
exit codes:
  0  all is well
  1  the forward pass or a check failed, a line is wrong for some size, or a shape comment is stale
  2  the command line is wrong, or no model could be built from it
  3  nothing failed, but a check broke or ran out of time, or a line was not proved: see its message
"""
IMPORTS = """
Your code is imported, and so run: whatever it does at import, it does here. The model itself runs on tensors
without values; no weight is read and nothing is computed.
"""
RUNS = """
Your code is imported, and so run, and the model is run on random inputs.
"""


def add_parser(
    commands: Any, name: str, *, help: str, description: str, examples: str = ""
) -> argparse.ArgumentParser:
    """Add a subcommand whose texts are printed unchanged, with the exit codes below the examples."""
    return commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=examples + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add `--input`, the shapes to call the model with."""
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SHAPE",
        help='shape of an input, once for each: "batch 3 32 32", "batch=8 tokens=77 64", "int64[batch 77]";'
        " not needed where forward is annotated",
    )


@contextlib.contextmanager
def usage_errors(*errors: type[Exception]) -> Generator[None, None, None]:
    """Convert errors of a wrong command line to `TargetError`, which the command prints in one line."""
    try:
        yield
    except errors as error:
        raise TargetError(str(error)) from error
