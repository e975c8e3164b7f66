"""The submodules that `keep_training=(nn.Dropout, "head.norm")` selects, with everything below them, and the
errors for a name or type that no model has, with a suggestion.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TypeAlias, cast

from torch import nn

from .._torch.modules.module_tables import named_modules
from .flags import walk
from .train_sensitivity import train_behaviour

ModuleSelector: TypeAlias = type[Any] | str | nn.Module
Selectors: TypeAlias = ModuleSelector | Iterable[ModuleSelector]


def as_tuple(argument: str, keep: Selectors) -> tuple[ModuleSelector, ...]:
    """Return the argument as a tuple of types, names and modules; raise TypeError for anything else."""
    # A str and an nn.Sequential are iterable as well, so that "single?" comes first.
    single = isinstance(keep, (str, type, nn.Module)) or not isinstance(cast("object", keep), Iterable)
    items: tuple[Any, ...] = (keep,) if single else tuple(cast("Iterable[Any]", keep))
    for item in items:
        if not isinstance(item, (str, type, nn.Module)):
            raise TypeError(f"{argument} takes module types, submodule names or modules, got {item!r}")
    return items


def select(
    argument: str, keep: tuple[ModuleSelector, ...], models: tuple[nn.Module, ...]
) -> dict[nn.Module, None]:
    """Return the modules that `keep` selects in the models, each with everything below it.

    Raises:
        ValueError: an item matches nothing in any of the models; the message suggests alternatives.
    """
    chosen: dict[nn.Module, None] = {}
    for item in keep:
        if isinstance(item, str):
            roots = _by_name(argument, item, models)
        else:
            everything = walk(models)
            if isinstance(item, nn.Module):
                roots = [module for module in walk([item]) if module in everything]
            else:
                roots = [module for module in everything if isinstance(module, item)]
            if not roots:
                raise ValueError(_nothing(argument, item, models))
        chosen.update(walk(roots))
    return chosen


def _by_name(argument: str, name: str, models: tuple[nn.Module, ...]) -> list[nn.Module]:
    found: list[nn.Module] = []
    for model in models:
        with suppress(AttributeError):
            found.append(model.get_submodule(name))
    if found:
        return found
    known = [path for model in models for path, _ in named_modules(model) if path]
    close = difflib.get_close_matches(name, known, n=1)
    owners = " or ".join(type(model).__name__ for model in models)
    hint = f"Did you mean {close[0]!r}?" if close else f"It has {_some(known)}."
    raise ValueError(f"{argument}: {owners} has no submodule {name!r}. {hint}")


def _nothing(argument: str, item: type | nn.Module, models: tuple[nn.Module, ...]) -> str:
    owners = " or ".join(type(model).__name__ for model in models)
    what = item.__name__ if isinstance(item, type) else f"this {type(item).__name__}"
    sensitive = [
        f"{path or 'the model itself'} ({behaviour})"
        for model in models
        for path, module in named_modules(model)
        if (behaviour := train_behaviour(module))
    ]
    hint = f"What differs between the modes there: {_some(sensitive)}." if sensitive else (
        "Nothing in it behaves differently in training."
    )  # fmt: skip
    return f"{argument}: there is no {what} in {owners}, so nothing would be kept. {hint}"


def _some(names: list[str], limit: int = 6) -> str:
    shown = ", ".join(names[:limit]) or "none"
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
