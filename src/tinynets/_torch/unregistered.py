"""Modules that a model uses but `model.eval()` does not reach, because they were never registered."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

from torch import nn

from ..modes.flags import named
from ..modes.frozen_train import Hold

_OF_TORCH = set(vars(nn.Module()))  # _parameters, _modules, hooks ...
_DEPTH = 4  # of containers in containers


def unreached(model: nn.Module) -> dict[str, nn.Module]:
    """Path in the code -> module, for the modules hidden in plain attributes, lists, dicts and so on."""
    registered = named(model)
    seen = {id(module) for _, module in registered}
    found: dict[str, nn.Module] = {}
    for path, owner in registered:
        for name, value in vars(owner).items():
            if name in _OF_TORCH or isinstance(value, Hold):
                continue
            for place, module in _modules_in(value, f"{path}.{name}".lstrip("."), _DEPTH):
                if id(module) not in seen:
                    seen.update(id(below) for _, below in named(module))
                    found[place] = module
    return found


def _modules_in(value: Any, place: str, depth: int) -> Iterator[tuple[str, nn.Module]]:
    if isinstance(value, nn.Module):
        yield place, value
    elif depth == 0:
        return
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            yield from _modules_in(item, f"{place}[{key!r}]", depth - 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(cast("Collection[Any]", value)):
            yield from _modules_in(item, f"{place}[{index}]", depth - 1)
