"""Split the layers of a SimpleViT or MlpMixer over processes: each stores and computes a part of every layer.

    torchrun --standalone --nproc-per-node 2 examples/tensor_parallel.py --model simple_vit

The contract stays in force. A split tensor is a `DTensor`, whose shape is the global one: `hidden` is
`hidden` on every process. Hence `use_local_output=False` below; without it, the next annotated line rejects
the local size.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

try:
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F
    from options import at_least
    from processes import process_group, report
    from script_error import ScriptError
    from torch import Tensor, nn
    from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, distribute_module, distribute_tensor
    from torch.distributed.tensor.debug import CommDebugMode
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        ParallelStyle,
        RowwiseParallel,
        parallelize_module,
    )
    from torch.distributed.tensor.placement_types import _StridedShard
    from torch.nn.attention import SDPBackend, sdpa_kernel

    import tinynets as tn
    from tinynets.layers.attention import FeedForward, SelfAttention
    from tinynets.models import ImageClassifier, MlpMixer, SimpleViT
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[examples]'") from None

MODELS = ("simple_vit", "mlp_mixer")


class HeadwiseParallel(ParallelStyle):
    """Give each process the queries, keys and values of its heads.

    The rows of `qkv` are `(three heads head_dim)`. With an even split, as in `ColwiseParallel`, one process
    would get queries and another values. A strided shard splits each third instead.
    """

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        return distribute_module(module, device_mesh, self._split, self._replicate)

    def _split(self, name: str, module: nn.Module, mesh: DeviceMesh) -> None:
        for key, parameter in list(module.named_parameters(recurse=False)):
            part = distribute_tensor(parameter.detach(), mesh, [_StridedShard(0, split_factor=3)])
            module.register_parameter(key, nn.Parameter(part, parameter.requires_grad))

    def _replicate(self, module: nn.Module, inputs: tuple[Tensor, ...], mesh: DeviceMesh) -> DTensor:
        return DTensor.from_local(inputs[0], mesh, [Replicate()], run_check=False)


def plan(model: ImageClassifier) -> dict[str, ParallelStyle]:
    """Return the plan of `parallelize_module` for every block; all other layers are replicated.

    Each pair of layers needs one all-reduce: the first layer is split by its outputs, the second by its
    inputs.
    """
    styles: dict[str, ParallelStyle] = {}
    for name, module in model.named_modules():
        if isinstance(module, FeedForward):
            styles[f"{name}.fc1"] = ColwiseParallel(use_local_output=False)
            styles[f"{name}.fc2"] = RowwiseParallel()
        elif isinstance(module, SelfAttention):
            styles[f"{name}.qkv"] = HeadwiseParallel()
            styles[f"{name}.out"] = RowwiseParallel()
    return styles


def split(model: ImageClassifier, mesh: DeviceMesh) -> None:
    """Split a model that is the same on every process of the mesh.

    Raises:
        ScriptError: the model cannot be split into that many equal parts, or has nothing to split.
    """
    parts = mesh.size()
    for name, module in model.named_modules():
        sizes = {FeedForward: "hidden", SelfAttention: "num_heads"}
        for kind, size in sizes.items():
            if isinstance(module, kind) and getattr(module, size) % parts:
                raise ScriptError(
                    f"{name} has {size}={getattr(module, size)}, not a multiple of the {parts} processes"
                )
    styles = plan(model)
    if not styles:
        raise ScriptError(f"{type(model).__name__} has neither attention nor perceptrons to split")
    parallelize_module(model, mesh, styles)


def attention_kernel(device: torch.device) -> AbstractContextManager[object]:
    """Return the context of forward and backward: DTensor can split fused attention on GPUs only.

    On CPUs, infer with `tn.evaluating` and `torch.no_grad`: under `torch.inference_mode`, DTensor (torch
    2.13) takes most of a minute for each layer of unfused attention.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare a split model with an unsplit one, and return the exit code of the script."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", choices=MODELS, default="simple_vit")
    options.add_argument("--embed-dim", type=at_least(8), default=64, help="size of a token")
    options.add_argument("--num-heads", type=at_least(1), default=4, help="of simple_vit")
    options.add_argument("--depth", type=at_least(1), default=2, help="number of blocks")
    chosen = options.parse_args(arguments)
    try:
        with process_group() as device:
            compare(chosen, device)
    except (ScriptError, ValueError) as error:
        report(error)
        return 1
    return 0


def compare(chosen: argparse.Namespace, device: torch.device) -> None:
    """Print how much logits and gradients differ from the unsplit model, and what the split costs."""
    whole, parted = build(chosen).to(device, torch.float64), build(chosen).to(device, torch.float64)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    split(parted, mesh)

    torch.manual_seed(1)  # all processes of the mesh see the same images
    images = torch.rand(8, 3, 32, 32, dtype=torch.float64, device=device)
    labels = torch.randint(10, (8,), device=device)
    with tn.training(whole, parted), attention_kernel(device):
        expected = whole(images)
        F.cross_entropy(expected, labels).backward()
        logits = parted(images)
        F.cross_entropy(logits, labels).backward()
        with torch.no_grad(), CommDebugMode() as exchanged:
            parted(images)

    gradients = [parameter.grad for parameter in parted.parameters()]
    gathered = [grad.full_tensor() if isinstance(grad, DTensor) else grad for grad in gradients]
    pairs = zip(gathered, (parameter.grad for parameter in whole.parameters()), strict=True)
    furthest = max((ours - theirs).abs().max().item() for ours, theirs in pairs)
    held = sum(
        (parameter.to_local() if isinstance(parameter, DTensor) else parameter).numel()
        for parameter in parted.parameters()
    )
    total = sum(parameter.numel() for parameter in whole.parameters())
    if dist.get_rank() == 0:
        print(f"largest difference: logits {(logits - expected).abs().max():.1e}, gradients {furthest:.1e}")
        print(f"each process holds {held:,} of {total:,} parameters")
        print(f"exchanges in a forward pass: {exchanged.get_total_counts()}")


def build(chosen: argparse.Namespace) -> ImageClassifier:
    """Build a small model with the same weights on every process, and a head that is not zero."""
    torch.manual_seed(0)
    model: ImageClassifier
    if chosen.model == "simple_vit":
        model = SimpleViT(
            embed_dim=chosen.embed_dim,
            depth=chosen.depth,
            num_heads=chosen.num_heads,
            hidden=4 * chosen.embed_dim,
        )
    else:
        model = MlpMixer(embed_dim=chosen.embed_dim, depth=chosen.depth)
    nn.init.normal_(model.classifier.weight, std=0.1)
    return model


if __name__ == "__main__":
    raise SystemExit(main())
