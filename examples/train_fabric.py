"""Train on the digits with Lightning Fabric: `python examples/train_fabric.py --processes 2`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

try:
    import torch.nn.functional as F
    from data import shifted
    from engines import loaders, model_and_data, optimizer_of, options, run
    from lightning_fabric import Fabric
    from options import at_least

    import tinynets as tn
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[distributed]'") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script and return its exit code."""
    parser = options(__doc__, out="runs/fabric")
    parser.add_argument("--processes", type=at_least(1), default=1, help="each on a GPU, if there are some")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true", help="Fabric's")
    return run(train, parser.parse_args(arguments))


def train(chosen: argparse.Namespace) -> None:
    """Train, evaluate on the held-out images after each epoch, and save."""
    strategy = "auto" if chosen.processes == 1 else "ddp"
    fabric = Fabric(devices=chosen.processes, strategy=strategy, precision=chosen.precision)
    fabric.launch()
    bare, data = model_and_data(chosen)
    model, optimizer = fabric.setup(bare, optimizer_of(bare, chosen.learning_rate))
    batches, held_out = fabric.setup_dataloaders(*loaders(data, chosen.batch_size))

    for epoch in range(1, chosen.epochs + 1):
        with tn.training(model):  # Fabric's wrapper is an ordinary module
            for images, labels in batches:
                loss = F.cross_entropy(model(shifted(images)), labels)
                optimizer.zero_grad()
                fabric.backward(loss)
                optimizer.step()
        with tn.inference(model):
            right = sum((model(images).argmax(1) == labels).sum() for images, labels in held_out)
        share = fabric.all_reduce(right, reduce_op="sum").item() / len(data.held_out_labels)
        fabric.print(f"epoch {epoch:3}   held-out accuracy {share:.4f}")

    if fabric.is_global_zero:
        chosen.out.mkdir(parents=True, exist_ok=True)
        bare.save(chosen.out / "weights.safetensors")
        fabric.print(f"Wrote {chosen.out / 'weights.safetensors'}")


if __name__ == "__main__":
    raise SystemExit(main())
