"""Watch the calls of a model's modules with forward hooks, which are always removed again: their paths, and
copies of their inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..tracing.pytree import tree_leaves
from .module_tables import named_modules

Before: TypeAlias = Callable[[str, nn.Module, tuple[Any, ...], dict[str, Any]], object]
"""Accepts the path of the module, the module and its arguments."""
After: TypeAlias = Callable[[str, nn.Module, Any], Any]
"""Accepts the path of the module, the module and its output; a result other than None replaces the output."""


@dataclass(frozen=True)
class ModuleCall:
    """One call of one module, with the leaves of its arguments and results: of tensors, detached clones."""

    path: str  # a module that is registered twice has its first
    module: nn.Module
    inputs: list[Any]
    outputs: list[Any]


@contextmanager
def forward_hooks(
    modules: nn.Module | Iterable[tuple[str, nn.Module]],
    *,
    before: Before | None = None,
    after: After | None = None,
) -> Generator[None]:
    """Call a function before and after each call of some modules, inside the block.

    Both stand outside of the hooks that the modules have, which are part of their calls. What follows a call
    follows one that raises too, with the output None, so that the two always come in pairs. Scripted modules
    accept no hooks and are left out. A model stands for all its modules.
    """
    pairs = named_modules(modules) if isinstance(modules, nn.Module) else modules
    with ExitStack() as stack:
        for path, module in pairs:
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if before is not None:
                hook = partial(_enter, before, path)
                stack.callback(module.register_forward_pre_hook(hook, prepend=True, with_kwargs=True).remove)
            if after is not None:
                hook = partial(_leave, after, path)
                stack.callback(module.register_forward_hook(hook, always_call=True).remove)
        yield


def _enter(
    before: Before, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    before(path, module, args, kwargs)


def _leave(after: After, path: str, module: nn.Module, args: object, output: Any) -> Any:
    return after(path, module, output)


def recorded_calls(model: nn.Module, call: Callable[[], object]) -> list[ModuleCall]:
    """Return the calls of all modules of a model during `call`, in the order in which they end."""
    found: list[ModuleCall] = []
    entered: list[list[Any]] = []  # a stack: modules call each other, and themselves

    def before(path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entered.append(_copied_leaves((args, kwargs)))

    def after(path: str, module: nn.Module, output: Any) -> None:
        found.append(ModuleCall(path, module, entered.pop(), _copied_leaves(output)))

    with forward_hooks(model, before=before, after=after):
        call()
    return found


def _copied_leaves(values: Any) -> list[Any]:
    leaves: list[Any] = tree_leaves(values)
    return [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
