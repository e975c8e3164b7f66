"""Find out who calls a checked function, and step out of a trace.

The comment at each private name of torch says what it is for, and what to do if torch drops it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import nn
from torch.compiler import is_dynamo_compiling as is_dynamo_compiling

from ...errors import DirectForwardWarning

P = ParamSpec("P")
R = TypeVar("R")

# How the checks of one call run: not at all; guards first; or validation only, because torch.jit.trace is
# recording shapes and would record every comparison of sizes as a part of the model.
OFF, ON, VALIDATE_ALL = 0, 1, 2

getframe = sys._getframe  # pyright: ignore[reportPrivateUsage]
is_inference_mode_enabled: Callable[[], bool] = torch.is_inference_mode_enabled

# For DirectForwardWarning: `model(x)` calls forward from this code. Without it, every caller is inspected,
# which is slower.
CALL_IMPL = cast(Any, nn.Module)._call_impl.__code__

# For the paths in error messages ("at encoder.blocks.3"): a frame with this code is a call of a module.
# Without it, messages lose the path.
_CALL = nn.Module.__call__.__code__

# For `torch.jit.trace`: whether it is recording. `torch.jit.is_tracing` is public and does the same, with
# one more Python call in each call of a checked function.
tracing_state: Callable[[], object] = torch._C._get_tracing_state  # pyright: ignore

# For errors under torch.compile: whether dynamo breaks the graph at the `raise` of an error that was created
# elsewhere. Up to torch 2.11 it fails there (no attribute `__context__`), so a function that it does not
# trace raises instead, and our frames are in the traceback.
TRACES_RAISE: bool = torch.__version__ >= "2.12"


def enter_from_elsewhere(module: nn.Module, caller: FrameType) -> int:
    """Return how checks run in a forward that was not called through the module's `__call__`."""
    if tracing_state() is not None:
        return VALIDATE_ALL
    _warn_if_direct(module, caller)
    return ON


def _warn_if_direct(module: nn.Module, caller: FrameType) -> None:
    name = str(caller.f_globals.get("__name__", ""))
    if name.split(".")[0] in ("torch", "tinynets", "functorch"):
        return
    arguments = caller.f_code.co_varnames[: caller.f_code.co_argcount]
    if arguments and caller.f_locals.get(arguments[0]) is module:
        return  # super().forward(...), or another method of the same module
    if _is_being_called(module, caller):
        return  # called by a function assigned to `forward`, a mock, or a decorator of the class
    kind = type(module).__name__
    warnings.warn(
        f"{kind}.forward(...) was called directly, so hooks and the mode guard are skipped;"
        " call the model itself: model(...)",
        DirectForwardWarning,
        stacklevel=4,  # this function, enter_from_elsewhere, the forward, its caller
    )


def _is_being_called(module: nn.Module, caller: FrameType) -> bool:
    """Whether a frame runs inside a call of the module."""
    frame: FrameType | None = caller
    while frame is not None:
        if frame.f_code is CALL_IMPL and frame.f_locals.get("self") is module:
            return True
        frame = frame.f_back
    return False


def outermost_called(module: nn.Module) -> nn.Module:
    """Return the outermost module that is being called on this thread; `module` itself if none is."""
    outermost = module
    frame: FrameType | None = getframe(1)
    while frame is not None:
        if frame.f_code is _CALL:
            called = frame.f_locals.get("self")
            if isinstance(called, nn.Module):
                outermost = called
        frame = frame.f_back
    return outermost


def pause_tracing() -> Any:
    """Stop recording for `torch.jit.trace`, so that sizes are plain ints."""
    state = tracing_state()
    if state is not None:
        # For errors inside torch.jit.trace. Without it, sizes in their text are tensors.
        torch._C._set_tracing_state(None)  # pyright: ignore
    return state


def resume_tracing(state: Any) -> None:
    """Continue recording."""
    if state is not None:
        torch._C._set_tracing_state(state)  # pyright: ignore


def outside_of_dynamo(function: Callable[P, R]) -> Callable[P, R]:
    """Return a version of the function that dynamo does not trace when compiled code calls it."""
    if "torch._dynamo" not in sys.modules:
        return function
    return cast(Any, torch.compiler).disable(function)


def known_while_tracing(function: Callable[P, R]) -> Callable[P, R]:
    """Make dynamo call a function while it traces, and treat the result as a constant."""
    # For packages under the import hook: their functions get their checks at the first call, which may be
    # traced. `torch.compiler.assume_constant_result` is public and does the same, but imports the compiler.
    # Without it, the first call of each such function breaks the graph.
    setattr(function, "_dynamo_marked_constant", True)  # noqa: B010
    return function


def graph_break(refusal: str, value: object) -> None:
    """Break the graph, so that the value can be validated; under `fullgraph=True`, raise with this text."""
    # For errors under torch.compile. Without it, any call that dynamo does not support breaks the graph as
    # well, but torch's error then names that call instead of the annotation.
    torch._dynamo.graph_break(msg=f"{refusal}, got {_traceable(value)}")  # pyright: ignore


def _traceable(value: object) -> str:
    # Uses only what dynamo supports, since it builds this text while it traces.
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} [{' '.join([f'{size}' for size in value.shape])}]"
    return type(value).__name__
