"""Which module is to blame: the deepest in whose call something happens, the first whose output differs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import nn

from ...modes.flags import named
from ..measure.compare import Leaf, detached, worst

Watch = Callable[[], Callable[[], object]]
"""Starts watching something; what it returns says whether that has changed since."""


def culprits(model: nn.Module, call: Callable[[], object], watch: Watch) -> list[str]:
    """Return the modules in whose own code something changes during a call, in the order of their calls.

    A module is not to blame for what happens in a module that it calls.

    Args:
        model: whose modules.
        call: calls the model.
        watch: starts watching what may change.
    """
    found: dict[str, None] = {}
    open_calls: list[
        tuple[Callable[[], object], list[bool]]
    ] = []  # what to ask, whether a module below did it

    def before(path: str, module: nn.Module) -> None:
        open_calls.append((watch(), []))

    def after(path: str, module: nn.Module, output: Any) -> None:
        changed, below = open_calls.pop()
        did = bool(changed())
        if did and not any(below):
            found[named_module(path, module)] = None
        if open_calls:
            open_calls[-1][1].append(did)

    with suppress(Exception), _hooked(model, before, after):
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

        with suppress(Exception), _hooked(model, lambda path, module: None, after):
            call()
    for (name, one), (other_name, other) in zip(*calls, strict=False):
        if name != other_name or worst(one, other) is not None:
            return name
    return ""


def named_module(path: str, module: nn.Module) -> str:
    """A module in words."""
    kind = type(module).__name__
    return f"`{path}` ({kind})" if path else f"{kind}.forward itself"


@contextmanager
def _hooked(
    model: nn.Module,
    before: Callable[[str, nn.Module], None],
    after: Callable[[str, nn.Module, Any], None],
) -> Generator[None]:
    with ExitStack() as stack:
        for path, module in named(model):

            def entering(module: nn.Module, inputs: object, path: str = path) -> None:
                before(path, module)

            def leaving(module: nn.Module, inputs: object, output: object, path: str = path) -> None:
                after(path, module, output)

            # Before its own hooks, and after them: they are part of its call.
            stack.callback(module.register_forward_pre_hook(entering, prepend=True).remove)
            stack.callback(module.register_forward_hook(leaving, always_call=True).remove)
        yield
