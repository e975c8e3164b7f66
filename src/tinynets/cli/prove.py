"""`tinynets prove`: several targets, each model of a file, `--input`, `--json`, models that are `not looked
at`, and the exit code; the text is in `_prove/proof.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import TargetError
from .common import FAILED, OK, UNJUDGED, USAGE, add_input, add_parser, usage_errors

if TYPE_CHECKING:
    from ..inputs.arguments import Arguments

_DESCRIPTION = """\
Prove that the annotated lines of a model hold for every size of the axes that its inputs name, or find a
size for which one is wrong.

Your code is imported, and so run. The model is traced on tensors without values; sizes of 1, an empty batch
and sizes that it refuses or gets wrong are run for real.
"""
_EXAMPLES = """\
examples:
  tinynets prove airbench94
  tinynets prove nets.py:Net nets.py:Other
  tinynets prove nets.py
  tinynets prove nets.py:Net --input "batch 3 height=64 width=64" --json
"""


def add_command(commands: Any) -> None:
    """Add the subcommand."""
    parser = add_parser(
        commands,
        "prove",
        help="prove the annotated lines for every size",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "target",
        nargs="+",
        help="a name of the zoo, pkg.mod:Model, file.py:make_model, or file.py for each model in it",
    )
    add_input(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON list instead")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prove the models of all targets; return the exit code of the worst outcome."""
    from .._prove.prove import prove

    codes, found = [OK], list[dict[str, Any]]()
    for target in options.target:
        for name, make in _models(target):
            try:
                with usage_errors(TypeError, ValueError):
                    model = make()
                    proof = prove(model, _example(name, model, options.input))
            except TargetError as error:
                if target == name:
                    raise
                print(f"{name}: not looked at: {error}", file=sys.stderr)
                continue
            codes.append({"proved": OK, "unproved": UNJUDGED}.get(proof.verdict, FAILED))
            found.append({"target": name, **proof.to_dict()})
            if not options.json:
                print(proof.to_text(), flush=True)
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    return max(codes, key=[OK, UNJUDGED, FAILED, USAGE].index)


def _example(name: str, model: nn.Module, shapes: list[str]) -> Arguments:
    from ..inputs.examples import example_arguments

    try:
        return example_arguments(model, tuple(shapes), {})
    except TypeError:
        if shapes:
            raise
        raise TargetError(
            f'{name} does not say what shapes it takes: pass them, as in --input "batch 3 32 32"'
        ) from None


def _models(target: str) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Yield the name of each model of a target, and a function that builds it."""
    from ..inputs.targets import build, import_file, load_model, models_in

    path = Path(target)
    if path.suffix != ".py" or not path.is_file():
        yield target, partial(load_model, target)
        return
    for model in models_in(import_file(path)):
        yield f"{target}:{model.__name__}", partial(build, model, model.__name__)
