"""What checks share: calls without gradients, which modules are called, whether random numbers are drawn,
which modules stay in training mode, and how lists are shortened in messages.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor, nn

from .._torch.modules.hook_recorder import forward_hooks
from .._torch.modules.module_tables import named_modules
from .._torch.state.model_walk import unregistered_modules
from .._torch.state.random_states import RandomStates, seed_everything
from ..errors import Failure
from ..inputs.arguments import Arguments
from ..modes.train_sensitivity import train_behaviour
from .locate.divergence import named_module
from .measure.compare import Leaf, detached
from .subject import Subject

SEED = 40_499  # no model seeds with it, so that seeding in forward shows


def call_no_grad(
    subject: Subject, arguments: Arguments, model: nn.Module | None = None, *, seed: int | None = None
) -> list[Leaf]:
    """Call the model, or another one, without gradients in its current mode; set the seed first, if given."""
    if seed is not None:
        seed_everything(seed)
    with torch.no_grad():
        return detached(subject.call(arguments, model))


def uses_rng(subject: Subject) -> bool:
    """Whether the model draws random numbers in eval mode."""
    subject.model.eval()
    seed_everything(subject.seed)
    states = RandomStates()
    with torch.no_grad():
        subject.call(subject.batch())
    return bool(states.moved())


def has_forward(module: nn.Module) -> bool:
    """Return whether a module has a Python `forward`; lists and dicts of modules, and scripts, do not."""
    return not isinstance(module, torch.jit.ScriptModule) and type(module).forward is not nn.Module.forward


def called_modules(subject: Subject, modules: list[tuple[str, nn.Module]]) -> set[int]:
    """Return the ids of the modules that are called, also if they raise, in eval or in training mode."""
    called: set[int] = set()

    def before(path: str, module: nn.Module, *_: object) -> None:
        called.add(id(module))

    with forward_hooks(modules, before=before):
        run_both_modes(subject)
    return called


def run_both_modes(subject: Subject) -> None:
    """Run the model in eval mode and, as far as it goes, in training mode."""
    subject.run(subject.batch())
    with suppress(Failure):  # runs.train reports it
        subject.run(subject.batch(training=True), training=True)


def named_state(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters and buffers of a model with their names."""
    return [*model.named_parameters(), *model.named_buffers()]


def named_or_type(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules with their paths; the path of the model itself is the name of its class."""
    return [(path or type(model).__name__, module) for path, module in named_modules(model)]


def still_training(model: nn.Module) -> str:
    """Name the modules in training mode; unregistered ones only if they behave differently in it."""
    left = [
        f"{named_module(path, module)} is in training mode"
        for path, module in cast("Any", model).named_modules()
        if module.training
    ]
    hidden = [
        f"{named_module(path, below)} is not registered, so eval() does not reach it"
        for path, module in unregistered_modules(model).items()
        for below in module.modules()
        if below.training and train_behaviour(below)
    ]
    return listed(left + hidden)


def listed(items: list[str], limit: int = 5) -> str:
    """Join the first few items, and count the others."""
    more = f"; and {len(items) - limit} more" if len(items) > limit else ""
    return "; ".join(items[:limit]) + more


def quoted(names: list[str], most: int = 3) -> str:
    """Return the first few names in backticks, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more
