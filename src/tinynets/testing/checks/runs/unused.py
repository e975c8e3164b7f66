"""The check `runs.unused`."""

from __future__ import annotations

from contextlib import suppress

from torch import nn

from ...._torch.modules.hook_recorder import forward_hooks
from ...._torch.modules.module_tables import named_modules
from ... import Failure, Level, Subject, check
from ...call_helpers import has_forward, quoted


@check("runs.unused", Level.INFO)
def unused(subject: Subject) -> None:
    """Every module without parameters is called, in eval or in training mode.

    `gradients.reach` covers modules with parameters.

    Why: an activation or a normalisation that is built but never called was probably meant to be.
    Fix: call it in forward, or do not build it.
    Declare: nothing: this is reported, never a failure.
    """
    called: set[int] = set()

    def before(path: str, module: nn.Module, *_: object) -> None:
        called.add(id(module))

    modules = [
        (path, module)
        for path, module in named_modules(subject.model)
        if has_forward(module) and next(module.parameters(), None) is None
    ]
    with forward_hooks(modules, before=before):
        subject.run(subject.batch())
        with suppress(Failure):  # runs.train reports it
            subject.run(subject.batch(training=True), training=True)
    silent = [path for path, module in modules if id(module) not in called]
    if silent:
        raise Failure(
            f"{len(silent)} module{'s are' if len(silent) > 1 else ' is'} never called", where=quoted(silent)
        )
