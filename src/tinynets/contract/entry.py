"""What happens when a checked function is entered, and how a refusal looks to `torch.compile`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling as is_dynamo_compiling

from .errors import DirectForwardWarning
from .switch import switch

_OFF, _ON, _JUDGE_ALL = 0, 1, 2
"""Nothing is checked; accept tests run; the judge sees every value, since shapes are being recorded."""

_get_tracing_state: Callable[[], object] = torch._C._get_tracing_state  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
_CALL_IMPL = nn.Module._call_impl.__code__  # pyright: ignore[reportPrivateUsage]
_getframe = sys._getframe  # pyright: ignore[reportPrivateUsage]

Guard = Callable[[nn.Module], None]
_guards: list[Guard] = []


def set_inference_guard(guard: Guard) -> None:
    """Let `guard` look at every module that is called under `torch.inference_mode()`."""
    _guards[:] = [guard]


def enter_function() -> int:
    """Say how the checks of a function run on this call."""
    if not switch.on:
        return _OFF
    return _JUDGE_ALL if _get_tracing_state() is not None else _ON


def enter_module(module: nn.Module) -> int:
    """Say how the checks of a module's forward run on this call; look out for a forgotten `eval()`.

    Raises:
        ModeError: the module is in training mode under `torch.inference_mode()`.
    """
    if not switch.on:
        return _OFF
    if torch.is_inference_mode_enabled():
        for guard in _guards:
            guard(module)
    caller = _getframe(2)
    if caller.f_code is _CALL_IMPL:
        return _ON
    if _get_tracing_state() is not None:
        return _JUDGE_ALL  # torch.jit.trace records every size that is compared as a tensor
    _warn_if_direct(module, caller)
    return _ON


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
        stacklevel=4,
    )


def pause_tracing() -> Any:
    """Stop recording for `torch.jit.trace`, so that sizes are plain ints."""
    state = _get_tracing_state()
    if state is not None:
        torch._C._set_tracing_state(None)  # pyright: ignore
    return state


def resume_tracing(state: Any) -> None:
    """Go on recording."""
    if state is not None:
        torch._C._set_tracing_state(state)  # pyright: ignore


def graph_break(contract: Any, index: int, value: object) -> None:
    """Leave the graph so that the judge can speak; with `fullgraph=True`, torch raises with this text."""
    torch._dynamo.graph_break(msg=f"{contract.refusals[index]}, got {_traceable(value)}")  # pyright: ignore[reportUnknownMemberType, reportPrivateUsage]


def _traceable(value: object) -> str:
    # Only what dynamo can follow: it builds this text while it traces.
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} [{' '.join([f'{size}' for size in value.shape])}]"
    return type(value).__name__

