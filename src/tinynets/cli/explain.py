"""`tinynets explain`: its options `--depth`, `--mode`, `--real`, `--format`, `--width`, `--html` and `--svg`,
their defaults, and the exit code.
"""

from __future__ import annotations

import argparse
from typing import Any, Literal

from ..errors import TargetError
from .common import FAILED, IMPORTS, OK, add_input, add_parser, usage_errors

_EXAMPLES = """\
examples:
  tinynets explain cifar_mlp --mode both
  tinynets explain nets.py:Net --input "batch 3 32 32"
  tinynets explain torchvision.models:resnet18 --input "batch 3 224 224" --html net.html
"""
_MODES: dict[str, list[Literal["train", "eval"]] | None] = {
    "as-is": None,
    "train": ["train"],
    "eval": ["eval"],
    "both": ["train", "eval"],
}


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser = add_parser(
        commands,
        "explain",
        help="show a forward pass line by line",
        description="Show a forward pass line by line, with the shape that every line makes.\n" + IMPORTS,
        examples=_EXAMPLES,
    )
    parser.add_argument("target", help="a name of the zoo, pkg.mod:Model, or file.py:make_model")
    add_input(parser)
    parser.add_argument(
        "--depth", type=_depth, default=1, help="levels of modules to show, or 'all' (default: 1)"
    )
    parser.add_argument(
        "--mode",
        choices=[*_MODES],
        help="default: as-is; both with --html, so that the page can switch",
    )
    parser.add_argument("--real", action="store_true", help="run on real tensors instead of fake ones")
    parser.add_argument("--format", choices=["text", "markdown", "json"], default="text")
    parser.add_argument(
        "--width", type=_width, help="of the text, at least 60 (default: COLUMNS, or the terminal, or 110)"
    )
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--html", metavar="PATH", help="write one page for a browser instead")
    files.add_argument("--svg", metavar="PATH", help="write a picture of the flow instead")
    parser.set_defaults(run=run)


def _depth(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number from 1, or 'all', got {text!r}")
    return int(text)


def _width(text: str) -> int:
    if not text.isdecimal() or int(text) < 60:
        raise argparse.ArgumentTypeError(f"a number from 60, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Explain the model, and print or write the result."""
    from .._explain.explain import explain
    from ..inputs.targets import load_model

    with usage_errors(TypeError, ValueError):
        explanation = explain(
            load_model(options.target),
            *options.input,
            depth=options.depth,
            on="real" if options.real else "fake",
            modes=_MODES[options.mode or ("both" if options.html else "as-is")],
        )
    path = options.html or options.svg
    if path:
        try:
            print(explanation.to_html(path) if options.html else explanation.to_svg(path))
        except OSError as error:
            raise TargetError(f"{path} cannot be written: {error.strerror}") from error
    elif options.format == "json":
        print(explanation.to_json())
    elif options.format == "markdown":
        print(explanation.to_markdown(), end="")
    else:
        explanation.print(width=options.width)
    return FAILED if explanation.failed else OK
