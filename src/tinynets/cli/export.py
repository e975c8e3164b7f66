"""`tinynets export`: the command line of `tinynets.export`."""

from __future__ import annotations

import argparse
from typing import Any

_DESCRIPTION = """\
Write a model to a file that runs without tinynets, with its contract inside.
Its weights are those of the target: a file that model.save wrote, or whatever your code builds."""
_EXAMPLES = """\
examples:
  tinynets export weights.safetensors --to model.onnx
  tinynets export nets.py:make_trained --to model.pt2 --input "batch 3 32 32"
  tinynets export weights.safetensors --to model.pt2 --format aoti
"""


def add_command(commands: Any, epilog: str) -> argparse.ArgumentParser:
    """Add the command to those of `tinynets`, and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write a model to a file that runs without tinynets",
        description=_DESCRIPTION,
        epilog=_EXAMPLES + epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", help="a .safetensors file of a model of the zoo, or as for explain")
    parser.add_argument("--to", metavar="FILE", required=True, help="ends in .pt2 or .onnx")
    parser.add_argument("--format", choices=["pt2", "aoti", "onnx"], help="default: by the suffix")
    parser.set_defaults(run=run)
    return parser


def run(options: argparse.Namespace) -> int:
    """Export, and say what the file takes and returns.

    Raises:
        TargetError: the target is no model, or cannot be exported like this; the message says what to do.
    """
    from .._export.export import export
    from .._export.load import load_exported
    from ..errors import CheckpointError, ContractError, TargetError
    from ..inputs.targets import load_model
    from ..models import load

    try:
        saved = options.target.endswith(".safetensors")
        model = load(options.target) if saved else load_model(options.target)
        export(model, options.to, *options.input, format=options.format)
    except (CheckpointError, ContractError, TypeError, ValueError, OSError, ModuleNotFoundError) as error:
        raise TargetError(str(error)) from error
    print(f"{options.to}: {load_exported(options.to).signature}")
    return 0
