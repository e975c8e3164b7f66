from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...._torch.modules.layers import BatchOrInstanceNorm
from ...._torch.modules.module_tables import named_modules
from ...._torch.tracing.pytree import tree_leaves
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import quoted
from ...measure.compare import Leaf, worst

_MOST = 32  # buffers to test; each costs two calls
_LOOKS = frozenset(
    ["__get__", "clone", "contiguous", "detach", "dim", "is_floating_point", "numel", "size", "to", "type"]
)
"""Functions that inspect or copy a tensor without computing anything."""


@check("runs.buffers", Level.SHOULD)
def buffers(subject: Subject) -> None:
    """Changing a float buffer that forward computes with changes the output.

    The check changes the values of each buffer, in eval and in training mode. It skips buffers of torch's own
    layers, of norms that derive from them, and buffers that forward does not use.

    Why: `x + self.position` without an assignment has no effect, and raises no error.
    Fix: assign the result: `x = x + self.position`.
    Declare: an exemption with the reason.
    """
    own = {
        f"{path}.{name}".lstrip("."): buffer
        for path, module in named_modules(subject.model)
        if not type(module).__module__.startswith("torch.")
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.is_floating_point() and buffer.numel()
    }
    watch = _Computes({id(buffer): name for name, buffer in own.items()})
    with watch:
        subject.run(subject.batch())
    used = [name for name in own if name in watch.found]
    if not used:
        raise Skip("forward computes with no float buffer")
    before = {training: _outputs(subject, training=training) for training in (False, True)}
    if worst(_outputs(subject, seed=1), before[False]) is None:
        raise Skip("other inputs change no output: other buffers would not either")
    norms = [path for path, module in named_modules(subject.model) if isinstance(module, BatchOrInstanceNorm)]
    judged = [name for name in used if name.rpartition(".")[0] not in norms][:_MOST]
    without = [name for name in judged if not _matters(subject, own[name], before)]
    if without:
        raise Failure(
            "forward computes with buffers whose values make no difference",
            where=quoted(without),
            cause="is the result assigned?",
        )


def _matters(subject: Subject, buffer: Tensor, before: dict[bool, Any]) -> bool:
    for training, outputs in before.items():
        try:
            if worst(_outputs(subject, training=training, changed=buffer), outputs) is not None:
                return True
        except Failure:  # the model rejects these values, so it reads them
            return True
    return False


def _outputs(
    subject: Subject, *, training: bool = False, seed: int = 0, changed: Tensor | None = None
) -> list[Leaf]:
    """Run the model, optionally with other values in one buffer."""
    _awaken(subject)
    if changed is not None:
        with torch.no_grad():
            size = max(float(changed.abs().nan_to_num(0.0, 0.0, 0.0).max()), 1.0)
            changed.add_(1 + torch.rand_like(changed), alpha=size)
    return subject.outputs(subject.batch(seed=seed), training=training)


def _awaken(subject: Subject) -> None:
    """Restore the model, and draw weights for branches and heads that start at zero."""
    subject.restore()
    generator = torch.Generator().manual_seed(subject.seed)
    with torch.no_grad():
        for parameter in subject.model.parameters():
            if parameter.is_floating_point() and not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


class _Computes(TorchFunctionMode):
    """Mode that records which tensors are arguments of an operation: `watched` has their names by id."""

    def __init__(self, watched: dict[int, str]) -> None:
        super().__init__()
        self.watched = watched
        self.found: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") not in _LOOKS:
            arguments: list[Any] = tree_leaves((args, kwargs or {}))
            self.found.update(self.watched[id(a)] for a in arguments if id(a) in self.watched)
        return func(*args, **(kwargs or {}))
