"""Find the module to blame: the deepest whose call changes something, the first whose output differs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import nn

from ..._torch.modules.hook_recorder import forward_hooks
from ..measure.compare import Leaf, detached, worst

Watch = Callable[[], Callable[[], object]]
"""Starts watching something; what it returns says whether that has changed since."""


def culprits(model: nn.Module, call: Callable[[], object], watch: Watch) -> list[str]:
    """Return the modules in whose own code something changes during a call, in the order of their calls.

    A module is not to blame for what happens in a module that it calls.
    """
    found: dict[str, None] = {}
    # Of each: what to ask, and whether modules below did it.
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
