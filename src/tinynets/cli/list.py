"""`tinynets list`: the names of the zoo, one per line, with the options `--family` and `--image-size`."""

from __future__ import annotations

import argparse
from typing import Any

from .common import OK, usage_errors


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("list", help="name the models of the zoo")
    parser.add_argument("--family", help="only one family, such as residual")
    parser.add_argument("--image-size", type=int, help="only models that take such images")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one name per line."""
    from ..models import list_models

    with usage_errors(ValueError):
        names = list_models(family=options.family, image_size=options.image_size)
    for name in names:
        print(name)
    return OK
