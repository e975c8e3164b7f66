"""Train on the digits with Hugging Face Accelerate.

    torchrun --standalone --nproc-per-node 2 examples/train_accelerate.py --freeze patches

`accelerate launch` works too, on GPUs; on CPUs it starts one process, whatever the requested number.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

try:
    import torch
    import torch.nn.functional as F
    from accelerate import Accelerator
    from data import shifted
    from engines import loaders, model_and_data, optimizer_of, options, run

    import tinynets as tn
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[distributed]'") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script and return its exit code."""
    parser = options(__doc__, out="runs/accelerate")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no", help="Accelerate's")
    return run(train, parser.parse_args(arguments))


def train(chosen: argparse.Namespace) -> None:
    """Train, evaluate on the held-out images after each epoch, and save."""
    # Accelerate finds GPUs by itself, but without `cpu` every CPU process would form a separate group.
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=chosen.precision)
    bare, data = model_and_data(chosen)
    batches, held_out = loaders(data, chosen.batch_size)
    optimizer = optimizer_of(bare, chosen.learning_rate)
    model, optimizer, batches, held_out = accelerator.prepare(bare, optimizer, batches, held_out)

    for epoch in range(1, chosen.epochs + 1):
        with tn.training(model):  # DDP's wrapper is an ordinary module
            for images, labels in batches:
                loss = F.cross_entropy(model(shifted(images)), labels)
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
        right = torch.zeros(())
        with tn.inference(model):
            for images, labels in held_out:
                hits = model(images).argmax(1) == labels
                right += accelerator.gather_for_metrics(hits).sum().cpu()  # without padding
        share = right.item() / len(data.held_out_labels)
        accelerator.print(f"epoch {epoch:3}   held-out accuracy {share:.4f}")

    if accelerator.is_main_process:
        chosen.out.mkdir(parents=True, exist_ok=True)
        accelerator.unwrap_model(model, keep_fp32_wrapper=False).save(chosen.out / "weights.safetensors")
        accelerator.print(f"Wrote {chosen.out / 'weights.safetensors'}")
    # Free DDP while the group exists: a wrapper that outlives its group can hang (pytorch/pytorch#56297).
    model, optimizer, batches, held_out = accelerator.free_memory(model, optimizer, batches, held_out)
    accelerator.end_training()


if __name__ == "__main__":
    raise SystemExit(main())
