from __future__ import annotations

from ...._torch.modules.module_tables import named_modules
from ... import Failure, Level, Subject, check
from ...call_helpers import called_modules, has_forward, quoted


@check("runs.unused", Level.INFO)
def unused(subject: Subject) -> None:
    """Every module without parameters is called, in eval or in training mode.

    `gradients.reach` covers modules with parameters.

    Why: an activation or a normalisation that is built but never called was probably meant to be.
    Fix: call it in forward, or do not build it.
    Declare: nothing: this is reported, never a failure.
    """
    modules = [
        (path, module)
        for path, module in named_modules(subject.model)
        if has_forward(module) and next(module.parameters(), None) is None
    ]
    called = called_modules(subject, modules)
    silent = [path for path, module in modules if id(module) not in called]
    if silent:
        raise Failure(
            f"{len(silent)} module{'s are' if len(silent) > 1 else ' is'} never called", where=quoted(silent)
        )
