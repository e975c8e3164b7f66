from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from ...._torch.modules.module_tables import named_modules
from ...._torch.state.global_flags import changed_flags, read_flags, write_flags
from ... import Failure, Level, Subject, check
from ...call_helpers import listed
from ...locate.divergence import culprits


@check("modes.flags", Level.MUST, valueless=True)
def flags(subject: Subject) -> None:
    """A call does not change any `training` or `requires_grad` flag, or the global flags of torch.

    Why: a forward that calls `self.drop.eval()`, freezes a parameter or sets a default dtype changes the
    behaviour of the caller's code.
    Fix: set modes and flags where the model is built or in the training script; set a flag that a computation
    needs in a `with` block.
    Declare: an exemption with the reason.
    """
    model = subject.model
    # Also without gradients: a forward that turns them on has no visible effect where they are already on.
    for training, gradients in ((False, True), (False, False), (True, True)):
        subject.restore()
        model.train(training)
        arguments = subject.batch(training=training)
        with torch.set_grad_enabled(gradients):
            own, global_flags = _own_flags(model), read_flags()
            subject.call(arguments)
            changed = _changed(own, _own_flags(model)) + changed_flags(global_flags)
        if changed:
            subject.restore()
            write_flags(global_flags)
            model.train(training)

            def watch() -> Callable[[], object]:
                flags, own = read_flags(), _own_flags(model)
                return lambda: changed_flags(flags) or own != _own_flags(model)

            with torch.set_grad_enabled(gradients):
                found = culprits(model, partial(subject.call, arguments), watch)
            mode = "training" if training else "eval"
            raise Failure(
                f"a call in {mode} mode changes {len(changed)} flag{'s' * (len(changed) > 1)}",
                where=listed(changed),
                cause=f"done by {listed(found)}" if found else "",
            )


def _own_flags(model: nn.Module) -> dict[str, bool]:
    flags = {f"{path}.training".lstrip("."): module.training for path, module in named_modules(model)}
    return {**flags, **{f"{name}.requires_grad": p.requires_grad for name, p in model.named_parameters()}}


def _changed(before: dict[str, bool], after: dict[str, bool]) -> list[str]:
    return [f"{name}: {old} -> {after[name]}" for name, old in before.items() if after.get(name, old) != old]
