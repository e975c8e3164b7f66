"""What happens when a checked function is entered, and how a refusal looks to `torch.compile`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

from torch.compiler import is_dynamo_compiling as is_dynamo_compiling

import torch
from torch import nn

from ..errors import DirectForwardWarning

# How the checks of one call run: not at all; accept tests first; or straight to the judge, because shapes are
# being recorded by torch.jit.trace, which would take every comparison of sizes for a part of the model.
OFF, ON, JUDGE_ALL = 0, 1, 2

# What generated code reads on every call of a module.
CALL_IMPL = cast(Any, nn.Module)._call_impl.__code__
getframe = sys._getframe  # pyright: ignore[reportPrivateUsage]
is_inference_mode_enabled: Callable[[], bool] = torch.is_inference_mode_enabled

tracing_state: Callable[[], object] = torch._C._get_tracing_state  # pyright: ignore


def enter_unusually(module: nn.Module, caller: FrameType) -> int:
    """Say how the checks of a forward run that was not called through the module's own `__call__`."""
    if tracing_state() is not None:
        return JUDGE_ALL
    _warn_if_direct(module, caller)
    return ON


def _warn_if_direct(module: nn.Module, caller: FrameType) -> None:
    name = str(caller.f_globals.get("__name__", ""))
    if name.split(".")[0] in ("torch", "tinynets", "functorch"):
        return
    arguments = caller.f_code.co_varnames[: caller.f_code.co_argcount]
    if arguments and caller.f_locals.get(arguments[0]) is module:
        return  # super().forward(...), or another method of the same module
    kind = type(module).__name__
    warnings.warn(
        f"{kind}.forward(...) was called directly, so hooks and the mode guard are skipped;"
        " call the model itself: model(...)",
        DirectForwardWarning,
        stacklevel=4,  # this function, enter_unusually, the forward, its caller
    )


def pause_tracing() -> Any:
    """Stop recording for `torch.jit.trace`, so that sizes are plain ints."""
    state = tracing_state()
    if state is not None:
        torch._C._set_tracing_state(None)  # pyright: ignore
    return state


def resume_tracing(state: Any) -> None:
    """Go on recording."""
    if state is not None:
        torch._C._set_tracing_state(state)  # pyright: ignore


def graph_break(refusal: str, value: object) -> None:
    """Leave the graph so that the judge can speak; with `fullgraph=True`, torch raises with this text."""
    torch._dynamo.graph_break(msg=f"{refusal}, got {_traceable(value)}")  # pyright: ignore


def _traceable(value: object) -> str:
    # Only what dynamo can follow: it builds this text while it traces.
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} [{' '.join([f'{size}' for size in value.shape])}]"
    return type(value).__name__
