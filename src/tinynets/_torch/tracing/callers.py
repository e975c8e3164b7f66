"""Find out who calls a checked function, and step out of a trace.

The comment at each private name of torch says what it is for, and what to do if torch drops it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from traceback import walk_stack
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


def has_traced_dtype(array: Any, family: str, names: tuple[str, ...]) -> bool:
    """Return whether the dtype of an array is one of these; where it is not, break the graph."""
    # Serves NumPy arrays under torch.compile: dynamo follows them, but not their `dtype`. Without it, each
    # checked array breaks the graph.
    torch._dynamo.comptime.comptime(_break_unless_dtype)  # pyright: ignore
    return torch.compiler.is_dynamo_compiling() or array.dtype.name in names


def _break_unless_dtype(context: Any) -> None:
    # Dynamo runs this while it traces `has_traced_dtype`, and guards on the dtype of the array itself.
    dtype = str(context.get_local("array").as_fake().dtype).removeprefix("torch.")
    if dtype not in context.get_local("names").as_python_constant():
        family = context.get_local("family").as_python_constant()
        # Behind the break, the function runs as it is. Compiled alone, it would be traced, and return True.
        torch._dynamo.eval_frame.skip_code(has_traced_dtype.__code__)  # pyright: ignore
        context.graph_break(f"expected an array of {family}, got {dtype}")
