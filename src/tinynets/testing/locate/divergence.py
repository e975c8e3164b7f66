"""Name the responsible module in a failed check: the deepest that changes something during a call, or the
first whose output differs between two calls.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import nn

from ..._torch.modules.hook_recorder import forward_hooks
from ..measure.compare import Leaf, detached, worst

Watch = Callable[[], Callable[[], object]]
"""Start watching something; the returned function says whether it has changed since."""


def culprits(model: nn.Module, call: Callable[[], object], watch: Watch) -> list[str]:
    """Return the modules whose own code changes something during a call, in call order.

    A module is not responsible for changes made by a module that it calls.
    """
    found: dict[str, None] = {}
    # For each open call: whether something changed, and whether submodules changed it.
    open_calls: list[tuple[Callable[[], object], list[bool]]] = []

    def before(*_: object) -> None:
        open_calls.append((watch(), []))

    def after(path: str, module: nn.Module, output: Any) -> None:
        changed, below = open_calls.pop()
        did = bool(changed())
        if did and not any(below):
            found[named_module(path, module)] = None
        if open_calls:
            open_calls[-1][1].append(did)

    with suppress(Exception), forward_hooks(model, before=before, after=after):
        call()
    return list(found)


def first_difference(model: nn.Module, ours: Callable[[], object], theirs: Callable[[], object]) -> str:
    """Return the first module whose output differs between two calls, `""` if none does."""
    calls: list[list[tuple[str, list[Leaf]]]] = [[], []]
    for call, record in zip((ours, theirs), calls, strict=True):

        def after(
            path: str,
            module: nn.Module,
            output: Any,
            record: list[tuple[str, list[Leaf]]] = record,
        ) -> None:
            record.append((named_module(path, module), detached(output)))

        with suppress(Exception), forward_hooks(model, after=after):
            call()
    for (name, one), (other_name, other) in zip(*calls, strict=False):
        if name != other_name or worst(one, other) is not None:
            return name
    return ""


def named_module(path: str, module: nn.Module) -> str:
    """Return a module in words."""
    kind = type(module).__name__
    return f"`{path}` ({kind})" if path else f"{kind}.forward itself"
