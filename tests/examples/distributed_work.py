"""What the processes of the distributed tests do in one group: `torchrun distributed_work.py all FOLDER`.

Every piece of work trains small models on a few random digits, so that the time goes into starting processes,
and leaves what it found in `FOLDER`. An assertion that fails on any process ends the whole group.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import itertools
import json
import re
import sys
from pathlib import Path

import checkpoints
import parallel
import processes
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
import train_distributed
from few_digits import BATCH, EPOCHS, NUM_IMAGES, STEPS, build, digits, prepare, settings
from no_pickles import no_pickles
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.elastic.multiprocessing.errors import record
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.utils._python_dispatch import TorchDispatchMode

import tinynets as tn
from tinynets.models import ImageClassifier


def train(folder: Path, *options: object) -> str:
    """Run the script inside the group that is there already; return what it printed here."""
    chosen = train_distributed.parse([*settings(folder), *map(str, options)])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        train_distributed.train(chosen, torch.device("cpu"))
    dist.barrier()
    return printed.getvalue()


def curve(folder: Path) -> list[float]:
    return json.loads((folder / "losses.json").read_text())


def alone(model: str) -> tuple[list[float], ImageClassifier]:
    """Train as anybody would on one process: whole batches and the mean loss."""
    data = digits(seed=0)
    torch.manual_seed(0)
    net = build(model, data.train_images).double().train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    losses: list[float] = []
    for epoch in range(EPOCHS):
        order = torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(hash((0, epoch))))
        for batch in order.split(BATCH):
            torch.manual_seed(hash((0, len(losses))))
            images = train_distributed.shifted(data.train_images[batch].double())
            loss = F.cross_entropy(net(images), data.train_labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return losses, net


def equal(folder: Path) -> None:
    """The losses and weights of two processes are those of one."""
    variants = {"lenet5": [(1, False), (3, True)], "simple_vit": [(1, True), (3, False)]}
    for model in variants:
        losses, net = alone(model)
        for strategy, (accumulate, recompute) in itertools.product(parallel.STRATEGIES, variants[model]):
            out = folder / f"{model}-{strategy}-{accumulate}-{recompute}"
            options = ["--model", model, "--strategy", strategy, "--accumulate", accumulate]
            train(out, *options, "--precision", "float64", *["--activation-checkpointing"] * recompute)
            furthest = max(abs(a - b) for a, b in zip(curve(out), losses, strict=True))
            assert furthest <= 1e-10, (out.name, furthest)
            for name, weight in load_file(out / "weights.safetensors").items():
                torch.testing.assert_close(weight, net.state_dict()[name], atol=1e-7, rtol=0)


def resumed(folder: Path) -> None:
    """A run whose last checkpoint has a flipped bit comes to the same bits, dropout included, and reads no pickle."""
    for strategy in parallel.STRATEGIES:
        options = ["--model", "tiny_vision_mlp", "--strategy", strategy, "--accumulate", 2]
        out = folder / strategy
        train(out, *options)
        assert checkpoints.steps(out / "checkpoints") == ([8, 6], [])
        expected = curve(out), (out / "weights.safetensors").read_bytes()
        assert len(set(expected[0])) == STEPS
        dist.barrier()
        newest = out / "checkpoints" / "step-8"
        if dist.get_rank() == 0:
            content = bytearray((newest / "rank-1.safetensors").read_bytes())
            content[-1] ^= 1
            (newest / "rank-1.safetensors").write_bytes(content)
            (out / "losses.json").unlink()
        dist.barrier()
        with no_pickles():
            printed = train(out, *options)
        skipped = (
            f"note: skipped {newest}: rank-1.safetensors is damaged: its SHA-256 is not that in SHA256SUMS\n"
        )
        assert dist.get_rank() or printed.startswith(f"{skipped}resumed after step 6 of 8\n")
        assert (curve(out), (out / "weights.safetensors").read_bytes()) == expected
        assert train(out, *options).startswith("resumed after step 8 of 8\n") or dist.get_rank()


def precision(folder: Path) -> None:
    """In bfloat16 the losses are near those in float32, and others."""
    for strategy in parallel.STRATEGIES:
        losses = {}
        for name in ("float32", "bfloat16"):
            out = folder / f"{strategy}-{name}"
            train(out, "--model", "simple_vit", "--strategy", strategy, "--precision", name)
            losses[name] = torch.tensor(curve(out))
            assert load_file(out / "weights.safetensors")["head.weight"].dtype is torch.float32
        difference = (losses["float32"] - losses["bfloat16"]).abs().max().item()
        assert 0 < difference < 0.05, (strategy, difference)


class Collectives(TorchDispatchMode):
    """Counts what processes ask of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        if "c10d" in operator.namespace:
            self.counts[operator.__name__.split(".")[0]] += 1
        return operator(*arguments, **(keywords or {}))


def exchanges(folder: Path) -> None:
    """Gradients are exchanged once per step, in however many micro-batches it comes."""
    for strategy, accumulate in itertools.product(parallel.STRATEGIES, (1, 2)):
        options = ["--model", "lenet5", "--strategy", strategy, "--accumulate", accumulate]
        with Collectives() as seen:
            train(folder / f"{strategy}-{accumulate}", *options)
        if strategy == "ddp":  # gradients, to settle; gradients, loss; accuracy
            assert seen.counts["allreduce_"] == 1 + 2 * STEPS + EPOCHS, (accumulate, seen.counts)
        else:  # two stages and what is outside of them
            assert seen.counts["_reduce_scatter_base_"] == 3 * STEPS, (accumulate, seen.counts)


def tensor_parallel(folder: Path) -> None:
    """A split model computes what the whole one does, and the contract sees whole sizes, or else refuses."""
    import tensor_parallel as split_layers  # with a second of torch that nothing else here needs

    for name in split_layers.MODELS:
        printed = io.StringIO()
        chosen = argparse.Namespace(model=name, embed_dim=16, num_heads=4, depth=3)
        with contextlib.redirect_stdout(printed):
            split_layers.compare(chosen, torch.device("cpu"))
        if dist.get_rank() == 0:
            found = re.search(r"logits (\S+), gradients (\S+)\n", printed.getvalue())
            assert found, printed.getvalue()
            assert max(map(float, found.groups())) <= 1e-10, printed.getvalue()
            assert "exchanges in a forward pass: 6\n" in printed.getvalue(), "one for each pair of layers"

        mesh = init_device_mesh("cpu", (2,))
        model = split_layers.build(chosen)
        split_layers.split(model, mesh)
        pair = model.get_submodule("blocks.0.mlp" if name == "simple_vit" else "blocks.0.channel_mlp")
        assert [layer.weight.to_local().numel() for layer in (pair.fc1, pair.fc2)] == [16 * 64 // 2] * 2
        with tn.evaluating(model), torch.no_grad(), split_layers.attention_kernel(torch.device("cpu")):
            model(torch.rand(2, 3, 32, 32))
            refuses(model, torch.rand(2, 3, 32, 28), "axis 3 is 28, expected image_size = 32")

        # A plan that hands out local tensors is wrong by the contract: `hidden` is not `hidden / 2`.
        model = split_layers.build(chosen)
        pair = model.get_submodule("blocks.0.mlp" if name == "simple_vit" else "blocks.0.channel_mlp")
        parallelize_module(pair, mesh, {"fc1": ColwiseParallel(), "fc2": RowwiseParallel()})
        refuses(model, torch.rand(2, 3, 32, 32), "expanded has axis 2 = 32, expected hidden = 64")


def refuses(model: ImageClassifier, images: torch.Tensor, text: str) -> None:
    with pytest.raises(tn.ShapeError, match=re.escape(text)):
        model(images)


IN_ONE_GROUP = {
    "equal": equal,
    "resumed": resumed,
    "precision": precision,
    "exchanges": exchanges,
    "tensor_parallel": tensor_parallel,
}


def main(folder: Path) -> int:
    prepare()
    with processes.process_group(timeout=600):
        for name in IN_ONE_GROUP:
            IN_ONE_GROUP[name](folder / name)
            if dist.get_rank() == 0:
                print(f"{name} is well", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(record(main)(Path(sys.argv[2])))
