"""`tinynets export`: its options `--to` and `--format`, saved files as targets, and the signature that it
prints.
"""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import CheckpointError, ContractError
from .common import OK, add_input, add_parser, usage_errors

_DESCRIPTION = """\
Write a model to a file that runs without tinynets, with its contract inside.
Its weights are those of the target: a file that model.save wrote, or whatever your code builds."""
_EXAMPLES = """\
examples:
  tinynets export weights.safetensors --to model.onnx
  tinynets export nets.py:make_trained --to model.pt2 --input "batch 3 32 32"
  tinynets export weights.safetensors --to model.pt2 --format aoti
"""


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser = add_parser(
        commands,
        "export",
        help="write a model to a file that runs without tinynets",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("target", help="a .safetensors file of a model of the zoo, or as for explain")
    parser.add_argument("--to", metavar="FILE", required=True, help="ends in .pt2 or .onnx")
    parser.add_argument("--format", choices=["pt2", "aoti", "onnx"], help="default: by the suffix")
    add_input(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export the model, and print the signature of the file.

    Raises:
        TargetError: the target is not a model, or cannot be exported this way; the message says what to do.
    """
    from .._export.export import export
    from .._export.load import load_exported
    from ..inputs.targets import load_model
    from ..models import load

    with usage_errors(CheckpointError, ContractError, TypeError, ValueError, OSError, ModuleNotFoundError):
        saved = options.target.endswith(".safetensors")
        model = load(options.target) if saved else load_model(options.target)
        export(model, options.to, *options.input, format=options.format)
    print(f"{options.to}: {load_exported(options.to).signature}")
    return OK
