"""The guard of `tn.Module`: the `ModeError` for a call under `torch.inference_mode()` while a layer that
depends on the mode is in train mode, and its text, which lists at most 5 of them.
"""

from __future__ import annotations

from torch import nn
from torch.compiler import is_compiling

from .._torch.modules.module_tables import in_train_mode, named_modules
from ..errors import ModeError
from .train_sensitivity import train_behaviour
from .with_blocks import approved

_SHOWN = 5


def guard(module: nn.Module) -> None:
    """Reject a call that would run train-only behaviour. Call it only when inference mode is on.

    Raises:
        ModeError: the module or a submodule is in train mode and behaves differently there.
    """
    if module in approved:
        return
    for one in in_train_mode(module):
        if train_behaviour(one) is not None and not is_compiling():
            raise _error(module)


def _error(model: nn.Module) -> ModeError:
    active = {
        path: f"{type(module).__name__}, {behaviour}"
        for path, module in named_modules(model)
        if module.training and (behaviour := train_behaviour(module))
    }
    rows = [f"  {path or 'the model itself'}: {what}" for path, what in list(active.items())[:_SHOWN]]
    if len(active) > _SHOWN:
        rows.append(f"  and {len(active) - _SHOWN} more")
    updates = sum("updates" in what for what in active.values())
    change = f"; {updates} of these would change running statistics" if updates else ""
    name = type(model).__name__
    in_train = "in train mode" if model.training else "with submodules in train mode"
    keep = "model" if "" in active else repr(list(active)[:1])
    text = [
        f"{name} called {in_train} while torch.inference_mode() is on",
        *rows,
        f"  Outputs would vary with the call or the rest of the batch{change}.",
        "  Use: with tn.inference(model): y = model(x)     (every submodule gets its own mode back)",
        f"  Meant it (MC dropout, BN recalibration)? with tn.inference(model, keep_training={keep}): ...",
    ]
    return ModeError("\n".join(text), expected="eval mode", got=f"train mode: {', '.join(active) or name}")
