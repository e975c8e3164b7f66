"""Train on the digits with several processes, and resume from the last checkpoint after a crash.

    python examples/train_distributed.py --processes 2 --restarts 3 --strategy fsdp
    torchrun --nnodes 2 --nproc-per-node 8 --max-restarts 3 ... examples/train_distributed.py

The batch size is the global one, and the result does not depend on the number of processes: each step has
the same loss and gradients as on one process (except for dropout, which differs between processes). A batch
that cannot be divided evenly is divided unevenly and weighted exactly.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

try:
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F
    from data import Data, shifted
    from digits import build, digit_model, load_digits
    from launch import launch
    from options import at_least, parser
    from parallel import (
        PRECISIONS,
        STRATEGIES,
        accumulating,
        casting,
        distribute,
        recompute_stages,
        refuse_batch_norm,
        settle,
    )
    from processes import TIMEOUT, on_first, process_group, report
    from resume import Run, whole_weights
    from script_error import ScriptError
    from torch import Tensor, nn
    from torch.distributed.elastic.multiprocessing.errors import record
    from write_whole import write_whole

    import tinynets as tn
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[examples]'") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    if options.processes and "LOCAL_RANK" not in os.environ:
        return launch(main, arguments, processes=options.processes, restarts=options.restarts)
    try:
        with process_group(options.timeout) as device:
            train(options, device)
    except ScriptError as error:
        report(error)
        return 1
    except OSError as error:  # on this process only; the others wait for it
        report(error)
        raise SystemExit(1) from None
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    options = parser(__doc__, out="runs/distributed", epochs=10, learning_rate=3e-3)
    options.formatter_class = argparse.RawDescriptionHelpFormatter
    options.add_argument("--model", type=digit_model, default="simple_vit", metavar="NAME", help="of the zoo")
    options.add_argument("--strategy", choices=STRATEGIES, default="ddp", help="replicate, or shard")
    options.add_argument("--precision", choices=PRECISIONS, default="float32", help="of the computation")
    options.add_argument("--accumulate", type=at_least(1), default=1, help="micro-batches per step")
    options.add_argument("--activation-checkpointing", action="store_true", help="less memory, more time")
    options.add_argument("--save-every", type=at_least(1), default=50, help="steps between checkpoints")
    options.add_argument("--limit", type=at_least(1), default=None, help="train on so many images only")
    options.add_argument("--reshard", action="store_true", help="go on with another number of processes")
    options.add_argument("--processes", type=at_least(1), default=None, help="to start, without torchrun")
    options.add_argument("--restarts", type=at_least(0), default=0, help="of --processes, if one is killed")
    options.add_argument(
        "--timeout", type=at_least(1), default=int(TIMEOUT), help="seconds to wait for another process"
    )
    return options.parse_args(arguments)


def train(options: argparse.Namespace, device: torch.device) -> None:
    """Train to the end, from the last checkpoint or from scratch, and write weights and losses."""
    smallest = dist.get_world_size() * options.accumulate
    if options.batch_size < smallest:
        raise ScriptError(
            f"--batch-size {options.batch_size} is too small for {dist.get_world_size()} process(es) and"
            f" --accumulate {options.accumulate}: at least {smallest}, an image for each"
        )
    dtype = torch.float64 if options.precision == "float64" else torch.float32
    data = load(options, device, dtype)
    torch.manual_seed(options.seed)  # the same initial weights on every process
    model = build(options.model, data.train_images).to(device, dtype)
    refuse_batch_norm(model, options.model)
    if options.activation_checkpointing:
        recompute_stages(model, options.model)
    wrapped = distribute(model, options.strategy, options.precision, device)
    settle(wrapped, data.train_images)

    steps_per_epoch = math.ceil(len(data.train_images) / options.batch_size)
    num_steps = options.epochs * steps_per_epoch
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    losses = torch.full((num_steps,), math.nan, dtype=torch.float64)
    run = Run(
        options.out / "checkpoints",
        settings(options, len(data.train_images)),
        model=wrapped,
        optimizer=optimizer,
        schedule=schedule,
        losses=losses,
    )
    first_step = run.resume(reshard=options.reshard)
    if first_step:
        say(f"resumed after step {first_step} of {num_steps}")

    for step in range(first_step, num_steps):
        epoch, batch_number = divmod(step, steps_per_epoch)
        order = torch.Generator().manual_seed(hash((options.seed, epoch)))
        batches = torch.randperm(len(data.train_images), generator=order).split(options.batch_size)
        with tn.training(wrapped):
            losses[step] = backward(wrapped, data, batches[batch_number], options, step)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if not math.isfinite(losses[step]):
            raise ScriptError(f"the loss became {losses[step]} in step {step}; try a lower --learning-rate")
        if (step + 1) % options.save_every == 0 or step + 1 == num_steps:
            run.save(step + 1)
        if batch_number + 1 == steps_per_epoch:
            loss = losses[step + 1 - steps_per_epoch : step + 1].mean()
            right = accuracy(wrapped, data, options)
            say(f"epoch {epoch + 1:3}   loss {loss:.4f}   held-out accuracy {right:.4f}")

    weights = whole_weights(wrapped)

    def write() -> None:
        single = build(options.model, data.train_images).to(dtype).with_weights(weights)
        single.save(options.out / "weights.safetensors")
        write_whole(options.out / "losses.json", json.dumps(losses.tolist()).encode())

    on_first(write)
    say(f"Wrote {options.out / 'weights.safetensors'} and losses.json")


def backward(model: nn.Module, data: Data, batch: Tensor, options: argparse.Namespace, step: int) -> Tensor:
    """Accumulate the gradients of the mean loss over a batch, and return that loss on every process."""
    rank, world = dist.get_rank(), dist.get_world_size()
    device = data.train_images.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for number, micro_batch in enumerate(batch.tensor_split(options.accumulate)):
        share = micro_batch.tensor_split(world)[rank]  # sizes differ by one at most, so it may be empty
        # The seed depends only on the position in the run: no random state needs to be saved for a resume.
        torch.manual_seed(hash((options.seed, step)))
        images = shifted(data.train_images[share])
        torch.manual_seed(hash((options.seed, step, number, rank)))  # dropout
        with accumulating(model, last=number + 1 == options.accumulate):
            with casting(options.strategy, options.precision, device):
                logits = model(images)
                # The sum over the share, divided by the size of the whole batch: a mean of means would be
                # wrong for unequal shares. Times `world`, since DDP and FSDP divide by it.
                loss = F.cross_entropy(logits, data.train_labels[share], reduction="sum") / len(batch)
            (loss * world).backward()
        total += loss.detach()
    dist.all_reduce(total)
    return total


def accuracy(model: nn.Module, data: Data, options: argparse.Namespace) -> float:
    """Return the accuracy on the held-out images; every process evaluates a part of them."""
    right = torch.zeros((), device=data.held_out_images.device)
    with tn.inference(model), casting(options.strategy, options.precision, right.device):
        for part in torch.arange(len(data.held_out_images)).split(1000):
            # Under FSDP all processes must call the model equally often, even if their share is empty.
            share = part.tensor_split(dist.get_world_size())[dist.get_rank()]
            predicted = model(data.held_out_images[share]).argmax(dim=1)
            right += (predicted == data.held_out_labels[share]).sum()
    dist.all_reduce(right)
    return right.item() / len(data.held_out_images)


def load(options: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> Data:
    """Load the digits; the data set is small enough for every process to keep all of it."""
    data = load_digits(seed=options.seed)
    available = len(data.train_images)
    if options.limit and options.limit > available:
        raise ScriptError(f"--limit {options.limit}: there are {available} images to train on")
    chosen = slice(options.limit)
    return replace(
        data,
        train_images=data.train_images[chosen].to(device, dtype),
        train_labels=data.train_labels[chosen].to(device),
        held_out_images=data.held_out_images.to(device, dtype),
        held_out_labels=data.held_out_labels.to(device),
    )


def settings(options: argparse.Namespace, num_images: int) -> dict[str, str | int | float | bool]:
    """Return the settings that must be the same when a run resumes."""
    names = (
        "model strategy precision accumulate activation_checkpointing epochs batch_size learning_rate seed"
    )
    chosen = {name: getattr(options, name) for name in names.split()}
    return {**chosen, "limit": num_images, "processes": dist.get_world_size()}


def say(text: str) -> None:
    """Print on rank 0 only, unbuffered."""
    if dist.get_rank() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(record(main)())  # lets torchrun show the error, not only that a process died
