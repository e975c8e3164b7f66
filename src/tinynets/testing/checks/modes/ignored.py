from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ...._torch.modules.hook_recorder import forward_hooks
from ...._torch.modules.module_tables import named_modules
from ...._torch.state.random_states import seed_everything
from ...._torch.tracing import pytree
from ....modes.train_sensitivity import train_behaviour
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import call_no_grad, listed
from ...locate.divergence import named_module
from ...measure.compare import objective, same_bits
from ...snapshot.snapshot import Snapshot

_DRAWS = 3  # a layer may be skipped at random: stochastic depth, experts


@check("modes.ignored", Level.SHOULD)
def ignored(subject: Subject) -> str | None:
    """Every dropout and batch normalisation of the model has an effect on a training call.

    Why: a regulariser that is built and then forgotten costs accuracy and raises no error.
    Fix: `self.drop(x)` without an assignment, `F.dropout(x, self.drop.p, training=False)`, a layer that
    `forward` sets to eval mode: the message names the layer, and whether it was called.
    Declare: an exemption with the reason; a layer that `train()` leaves in eval mode counts as frozen.
    """
    model = subject.model
    model.train()
    layers = {path: module for path, module in named_modules(model) if module.training and _of_torch(module)}
    if not layers:
        raise Skip("no dropout, batch normalisation or the like is active in training mode")
    before = Snapshot(model)
    called: set[str] = set()
    effective: set[str] = set()
    for seed in range(_DRAWS):
        _probe(subject, layers, seed, called, effective)
        before.restore()
        if len(effective) == len(layers):
            return None
    idle = [path for path in layers if path not in effective and not _matters(subject, layers[path], before)]
    if idle:
        raise Failure(
            f"{len(idle)} of {len(layers)} layers that act in training mode have no effect on a call",
            where=listed([named_module(path, layers[path]) for path in idle]),
            cause=listed([_reason(path, path in called) for path in idle], limit=1),
        )
    return None


def _probe(
    subject: Subject, layers: dict[str, nn.Module], seed: int, called: set[str], effective: set[str]
) -> None:
    """Record the layers that are called, and those that are in training mode and contribute to the output.

    The output of each layer is multiplied by a 1 whose gradient shows whether it is used.
    """
    ones: dict[str, Tensor] = {}

    def marked(path: str, module: nn.Module, output: object) -> object:
        called.add(path)
        if not module.training:
            return output
        tensors = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
        floats = [tensor for tensor in tensors if tensor.is_floating_point()]
        if not floats:
            effective.add(path)  # has no gradient to look at
            return output
        one = ones.setdefault(path, torch.ones((), dtype=floats[0].dtype, device=floats[0].device))
        one.requires_grad_()
        return pytree.tree_map_only(
            Tensor, lambda tensor: tensor * one if tensor.is_floating_point() else tensor, output
        )

    try:
        seed_everything(seed)
        with torch.enable_grad(), forward_hooks(layers.items(), after=marked):
            total = objective(subject.call(subject.batch(training=True)))
        if total is None or not total.requires_grad or not ones:
            effective.update(ones)
            return
        gradients: Any = torch.autograd.grad(total, list(ones.values()), allow_unused=True)
    except RuntimeError:  # other checks report a broken backward
        effective.update(ones)
    else:
        effective.update(path for path, g in zip(ones, gradients, strict=True) if g is not None)


def _matters(subject: Subject, layer: nn.Module, before: Snapshot) -> bool:
    """Return whether a layer that is not called has an effect through its settings or its buffers."""
    outputs: list[list[Tensor]] = []
    moved = False
    for neutral in (False, True):
        subject.model.train()
        if neutral:
            layer.training = False
            if isinstance(getattr(layer, "p", None), float):
                cast("Any", layer).p = 0.0
        buffers = [(buffer, buffer.clone()) for buffer in layer.buffers()]
        found = call_no_grad(subject, subject.batch(training=True), seed=subject.seed)
        outputs.append([leaf.tensor for leaf in found])
        moved = moved or any(not same_bits(buffer, value) for buffer, value in buffers)
        before.restore()
    return moved or not all(same_bits(a, b) for a, b in zip(*outputs, strict=True))


def _reason(path: str, called: bool) -> str:
    if called:
        return f"`{path}` is called, but in eval mode, or what it returns is not used"
    return f"`{path}` is never called, and nothing uses its settings either"


def _of_torch(module: nn.Module) -> bool:
    return not (train_behaviour(module) or "reads").startswith("reads")
