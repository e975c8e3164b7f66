from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import set_checkpoint_early_stop

from ...._torch.modules.hook_recorder import forward_hooks
from ...._torch.state.random_states import seed_everything
from ....inputs.arguments import Arguments
from ... import Failure, Level, Skip, Subject, check
from ...locate.divergence import named_module
from ...measure.compare import FLOAT32_LIMIT, Leaf, detached, worst
from ...measure.training import run_backward, scaled_objective, trained


@check("gradients.recompute", Level.MUST)
def recompute(subject: Subject) -> None:
    """A checkpointed part computes the same values in the backward pass as in the forward pass.

    Why: with `preserve_rng_state=False`, dropout draws another mask the second time, and the gradients belong
    to a function that was never computed.
    Fix: leave `preserve_rng_state` at True; in a checkpointed part, draw random numbers from torch only, and
    do not count calls.
    Declare: an exemption.
    """
    if not trained(subject.model):
        raise Skip("no parameter requires a gradient")
    subject.model.train()
    outputs: dict[str, list[list[Leaf]]] = defaultdict(list)
    again: list[str] = []
    other: dict[str, float] = {}
    forward = True

    def after(path: str, module: nn.Module, output: Any) -> None:
        found = detached(output)
        if forward:
            outputs[path].append(found)
            return
        again.append(path)
        gaps = [worst(found, first) for first in outputs[path]]
        smallest = min((0.0 if gap is None else gap.error for gap in gaps), default=0.0)
        if smallest > FLOAT32_LIMIT:
            other.setdefault(named_module(path, module), smallest)

    batch = subject.batch(training=True)
    # Recompute to the end: by default a checkpoint stops as soon as it has the tensors that it needs.
    whole = set_checkpoint_early_stop(False)
    with whole, forward_hooks(subject.model, after=after), torch.enable_grad():
        try:  # a reentrant checkpoint needs an input that carries a gradient
            total = _objective(subject, batch.map(_with_gradient))
        except Failure:  # some models reject such an input
            outputs.clear()
            total = _objective(subject, batch)
        if not total.requires_grad:
            raise Skip("no output carries a gradient")
        forward = False
        run_backward(total)
    if not again:
        raise Skip("nothing is computed again in the backward pass")
    if other:
        name, size = next(iter(other.items()))
        raise Failure(
            "what a checkpoint computes again in the backward pass is not what it computed before",
            where=f"from {name} on",
            size=f"{size:.1e} of the largest value (limit {FLOAT32_LIMIT:.0e})",
            cause="preserve_rng_state=False, random numbers of Python or NumPy, or a count of calls",
        )


def _with_gradient(tensor: Tensor) -> Tensor:
    """Return a tensor that requires a gradient, but that the model may modify in place."""
    return tensor.detach().requires_grad_().clone() if tensor.is_floating_point() else tensor


def _objective(subject: Subject, arguments: Arguments) -> Tensor:
    seed_everything(subject.seed)
    return scaled_objective(subject.call(arguments))
