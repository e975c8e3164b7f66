"""Read and set the training flag of single modules: frozen ones, classes that override `train`, compiled
wrappers, and the error for programs of `torch.export`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from torch import nn

from .._torch.modules.module_tables import breadth_first
from .._torch.tracing.compiler import is_compiled_wrapper
from ..errors import ModeError
from .frozen_train import frozen_state


class _ClassTraits(NamedTuple):
    mirrors: bool  # torch.compile's wrapper: its flag is the flag of the module inside
    overrides_train: bool
    sets_plainly: bool  # the flag is an ordinary instance attribute


@lru_cache(maxsize=4096)  # bounded: FSDP and parametrizations create classes on the fly
def _traits(cls: type[nn.Module]) -> _ClassTraits:
    return _ClassTraits(
        mirrors=is_compiled_wrapper(cls),
        overrides_train=cls.train is not nn.Module.train,
        sets_plainly=cls.__setattr__ is nn.Module.__setattr__,
    )


def walk(roots: Iterable[nn.Module]) -> dict[nn.Module, None]:
    """Return every registered module below the roots that has a flag, each once, breadth first (as keys).

    Raises:
        ModeError: a module comes from `torch.export` and has no mode to switch.
    """
    found = breadth_first(roots)
    for module in list(found):
        train = module.__dict__.get("train")
        if train is not None and getattr(train, "__qualname__", "").startswith("ExportedProgram."):
            raise exported_error("This module")
        if _traits(type(module)).mirrors:
            del found[module]
    return found


def flag_of(module: nn.Module) -> bool:
    """Return the module's training flag; for a frozen module, the one it would have if it were not frozen."""
    stub = frozen_state(module)
    return module.training if stub is None else stub.training


def set_flag(module: nn.Module, flag: bool) -> None:
    """Set the flag that `flag_of` reads, without touching children or calling `train` overrides."""
    stub = frozen_state(module)
    if stub is not None:
        stub.training = flag
    elif _traits(type(module)).sets_plainly:
        # What nn.Module.__setattr__ does for a bool, in a third of the time.
        object.__setattr__(module, "training", flag)
    else:
        module.training = flag


def apply_flags(wanted: dict[nn.Module, bool], called: list[nn.Module]) -> None:
    """Set the wanted flag on every module.

    A module whose class overrides `train` does more than set the flag: a backbone keeps its BatchNorm in eval
    mode, an adapter merges its weights. It is switched by calling `train`, which then decides for everything
    below it, except for modules with another wanted flag. It is not called if there is nothing to switch.

    Args:
        wanted: module -> flag, for whole trees.
        called: receives each module whose `train` is called, just before the call.
    """
    decided: dict[nn.Module, bool] = {}
    for module, flag in wanted.items():
        if decided.get(module) == flag:
            continue
        if not overrides_train(module):
            if flag_of(module) != flag:
                set_flag(module, flag)
            continue
        below = walk([module])
        if any(flag_of(one) != wanted.get(one, flag) for one in below):
            called.append(module)
            call_train(module, flag)
            for one in below:
                if frozen_state(one) is not None:  # it ignored the call, but must record the flag
                    set_flag(one, wanted.get(one, flag))
        decided.update(dict.fromkeys(below, flag))


def call_train(module: nn.Module, flag: bool) -> None:
    """Call the module's own `train`; raise ModeError if it refuses to switch."""
    try:
        module.train(flag)
    except NotImplementedError as error:
        raise ModeError(f"{type(module).__name__} cannot switch its mode: {error}") from error


def overrides_train(module: nn.Module) -> bool:
    """Return whether switching the module requires more than setting its flag."""
    if "train" in module.__dict__:
        return frozen_state(module) is None
    return _traits(type(module)).overrides_train


def exported_error(what: str) -> ModeError:
    """Return the error for anything that went through `torch.export`."""
    return ModeError(
        f"{what} comes from torch.export and has no train or eval mode: export wrote the mode into the graph"
        " (dropout kept or dropped, which statistics BatchNorm uses).\n"
        "  Choose the mode before: with tn.evaluating(model): program = torch.export.export(model, inputs)\n"
        "  To run it without autograd: with torch.inference_mode(): y = program.module()(*inputs)"
    )
