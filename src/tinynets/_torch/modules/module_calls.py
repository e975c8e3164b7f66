"""Whether a `forward` runs inside a call of its module: when `DirectForwardWarning` is issued, and its text;
and the outermost module being called, for the paths in error messages.

The comment at each private name of torch says what it is for, and what to do if torch drops it.
"""

from __future__ import annotations

import sys
import warnings
from traceback import walk_stack
from types import FrameType
from typing import Any, cast

from torch import nn

from ...errors import DirectForwardWarning
from ..tracing.while_tracing import ON, VALIDATE_ALL, tracing_state

getframe = sys._getframe  # pyright: ignore[reportPrivateUsage]


# For DirectForwardWarning: `model(x)` calls forward from this code. Without it, every caller is inspected,
# which is slower.
CALL_IMPL = cast(Any, nn.Module)._call_impl.__code__


# For the paths in error messages ("at encoder.blocks.3"): a frame with this code is a call of a module.
# Without it, messages lose the path.
_CALL = nn.Module.__call__.__code__


def enter_from_elsewhere(module: nn.Module, caller: FrameType) -> int:
    """Return how checks run in a forward that was not called through the module's `__call__`."""
    if tracing_state() is not None:
        return VALIDATE_ALL
    if _is_direct(module, caller):
        kind = type(module).__name__
        warnings.warn(
            f"{kind}.forward(...) was called directly, so hooks and the mode guard are skipped;"
            " call the model itself: model(...)",
            DirectForwardWarning,
            stacklevel=3,  # this function, the forward, its caller
        )
    return ON


def _is_direct(module: nn.Module, caller: FrameType) -> bool:
    name = str(caller.f_globals.get("__name__", ""))
    if name.split(".")[0] in ("torch", "tinynets", "functorch"):
        return False
    arguments = caller.f_code.co_varnames[: caller.f_code.co_argcount]
    if arguments and caller.f_locals.get(arguments[0]) is module:
        return False  # super().forward(...), or another method of the same module
    # Else through a function that was assigned to `forward`, a mock, or a decorator of the class.
    return not any(f.f_code is CALL_IMPL and f.f_locals.get("self") is module for f, _ in walk_stack(caller))


def outermost_called(module: nn.Module) -> nn.Module:
    """Return the outermost module that is being called on this thread; `module` itself if none is."""
    for frame, _ in walk_stack(getframe(1)):
        if frame.f_code is _CALL and isinstance(called := frame.f_locals.get("self"), nn.Module):
            module = called
    return module
