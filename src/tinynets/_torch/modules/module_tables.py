"""The tables of `nn.Module`: parameters, buffers, submodules and hooks, and walks over the submodules.

There is a public API for their contents (`named_children`, `named_parameters`, `register_forward_hook`), but
it removes duplicates, builds names on each call, and cannot restore anything. The names of the tables are in
every pickled module, so torch cannot easily rename them; if it does, all tests of modes and snapshots fail.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, cast

from torch import Tensor, nn

PARAMETERS, BUFFERS, MODULES = "_parameters", "_buffers", "_modules"

TABLES = frozenset(vars(nn.Module()))
"""The attributes that torch creates on a module: its tables and flags."""

HOOK_TABLES = frozenset(name for name in TABLES if "hooks" in name)
"""The attributes of a module that contain its hooks."""

MARKS = frozenset({"_is_torch_compile"})
"""Attributes that torch sets on modules and no forward reads: `torch.compile(module)` leaves one behind."""

_MOST = 100_000  # so that a module registered below itself does not hang the call


def named_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return `(path, module)` of every registered module, the model itself first with the path `""`.

    The same list as `model.named_modules()`, in a third of the time.
    """
    paths: dict[nn.Module, str] = {}
    _add_named(paths, "", model)
    return [(path, module) for module, path in paths.items()]


def _add_named(paths: dict[nn.Module, str], path: str, module: nn.Module) -> None:
    paths[module] = path
    prefix = f"{path}." if path else ""
    for name, child in module._modules.items():
        if child is not None and child not in paths:
            _add_named(paths, prefix + name, child)


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """Return the table of a module's own parameters, by name; not a copy."""
    return module._parameters


def own_tensors(module: nn.Module) -> tuple[Tensor | None, ...]:
    """Return a module's own parameters and buffers, None for those that are absent."""
    return (*module._parameters.values(), *module._buffers.values())


def breadth_first(roots: Iterable[nn.Module]) -> dict[nn.Module, None]:
    """Return every registered module below the roots, each once, in breadth-first order (as keys)."""
    found = dict.fromkeys(roots)
    queue = list(found)
    for module in queue:  # grows
        for child in module._modules.values():
            if child is not None and child not in found:
                found[child] = None
                queue.append(child)
    return found


def in_train_mode(root: nn.Module) -> list[nn.Module]:
    """Return the registered modules whose training flag is set; shared ones once for each registration.

    Remembering which modules were visited costs more than visiting them again.
    """
    found: list[nn.Module] = []
    queue: list[nn.Module | None] = [root]
    for module in islice(queue, _MOST):  # grows
        if module is None:
            continue
        if module.training:
            found.append(module)
        if children := module._modules:
            queue += children.values()
    return found


def computed_by_a_hook(module: nn.Module, name: str) -> bool:
    """Return whether an attribute belongs to a pre-hook, which recomputes it before each call.

    The old weight and spectral norms and pruning do that. A hook that stores the name of the attribute counts
    as its owner.
    """
    hooks = cast("dict[int, object]", module._forward_pre_hooks)
    return bool(hooks) and any(name in getattr(hook, "__dict__", {}).values() for hook in hooks.values())


def tables_of(
    module: nn.Module,
) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None], dict[str, nn.Module | None]]:
    """Return the tables of a module's own parameters, buffers and submodules; not copies."""
    return cast("dict[str, Tensor | None]", module._parameters), module._buffers, module._modules


def forward_hook_tables(module: nn.Module) -> tuple[dict[int, object], dict[int, object]]:
    """Return the tables of the hooks that a call of a module runs; not copies."""
    own: Any = module
    return own._forward_pre_hooks, own._forward_hooks


def global_forward_hook_tables() -> list[dict[int, object]]:
    """Return the tables of the hooks that a call of any module runs; not copies."""
    from torch.nn.modules import module as home

    return cast("list[dict[int, object]]", [home._global_forward_pre_hooks, home._global_forward_hooks])
