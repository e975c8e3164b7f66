"""Train a model of the zoo on 5,000 real MNIST digits, then infer with it safely."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

try:
    import torch
    from digits import build, digit_model, digit_models, load_digits
    from loop import run
    from options import add_device, parser
    from pretrain import pretrain
    from script_error import ScriptError
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[examples]'") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script and return its exit code."""
    options = parser(__doc__, out="runs/digits", epochs=30, learning_rate=3e-3)
    add_device(options)
    options.add_argument(
        "--model",
        type=digit_model,
        default="tiny_vision_mlp",
        metavar="NAME",
        help=f"one of {', '.join(digit_models())}; the large ones take minutes an epoch",
    )
    options.add_argument(
        "--all",
        action="store_true",
        help="train the weights that come with the package, and write them with their model card",
    )
    chosen = options.parse_args(arguments)
    if chosen.all or chosen.model == "tiny_vision_mlp":
        torch.set_num_threads(1)  # for layers this small, a second thread costs more than it helps
    if chosen.all:
        return run_all(chosen)
    return run(
        lambda: load_digits(seed=chosen.seed), lambda data: build(chosen.model, data.train_images), chosen
    )


def run_all(options: argparse.Namespace) -> int:
    """Train the weights that come with the package, and return the exit code of the script."""
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        pretrain(build, load_digits(seed=options.seed), options)
    except KeyboardInterrupt:
        print(f"Interrupted: what {options.out} holds is not of one run.", file=sys.stderr)
        return 130
    except (ScriptError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
