"""`tinynets show`: the targets that it accepts, and its errors; the source that it prints is written in
`_contract/show.py`.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from .common import OK, add_parser

_DESCRIPTION = """\
Print the checked functions of a model, or one function, as Python source: the user's lines with the guards
that were compiled into them. What is shown is what runs.

Your code is imported, and so run."""
_EXAMPLES = """\
examples:
  tinynets show cifar_mlp
  tinynets show nets.py:Net
  tinynets show pkg.attention:attend
"""


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser = add_parser(
        commands,
        "show",
        help="print checked functions as Python source",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("target", help="a name of the zoo, pkg.mod:Model, or file.py:function")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the checked functions of the target.

    Raises:
        TargetError: the target has no checked function.
    """
    from .._contract.show import show
    from ..errors import TargetError
    from ..inputs.targets import build, load_target

    target = load_target(options.target)
    if isinstance(target, partial):  # a name of the zoo
        target = build(target, options.target)
    try:
        print(show(target), end="")
    except ValueError as error:
        raise TargetError(f"{options.target}: {error}") from None
    return OK
