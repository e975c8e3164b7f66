from __future__ import annotations

from typing import Any

from torch import nn

from ...._torch.modules.module_tables import named_modules
from ... import Failure, Level, Subject, check
from ...call_helpers import called_modules, has_forward, quoted, run_both_modes


@check("transforms.hooks", Level.MUST)
def hooks(subject: Subject) -> str | None:
    """Every module that runs is called, not run by `module.forward(x)`, so that its hooks run.

    Modules whose weights are read but which are not called (`out_proj` of `nn.MultiheadAttention`), and
    modules that do not run at all, are only reported.

    Why: feature extraction, pruning, quantisation, profiling and sharding of weights rely on hooks.
    Fix: `self.block(x)`, never `self.block.forward(x)`.
    Declare: an exemption.
    """
    direct: set[int] = set()
    modules = [(path, module) for path, module in named_modules(subject.model) if has_forward(module)]
    fired = called_modules(subject, modules)
    silent = [(path, module) for path, module in modules if id(module) not in fired]
    if not silent:
        return None
    for _, module in silent:
        _watch_forward(module, direct)
    run_both_modes(subject)
    bypassed = [path for path, m in silent if id(m) in direct and next(m.parameters(), None) is not None]
    if bypassed:
        raise Failure(
            "modules run without being called, so their hooks do not",
            where=quoted(bypassed),
            cause=f"`{bypassed[0]}.forward(...)` is called: call the module itself",
        )
    return f"hooks do not run on {quoted([path for path, _ in silent])}: never called as a module"


def _watch_forward(module: nn.Module, seen: set[int]) -> None:
    forward = module.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.add(id(module))
        return forward(*args, **kwargs)

    vars(module)["forward"] = watched
