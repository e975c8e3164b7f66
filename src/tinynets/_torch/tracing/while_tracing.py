"""What a checked function does while torch traces it: validation only under `torch.jit.trace`, graph breaks
and the text of the error under `torch.compile`, NumPy arrays there, older torch.

The comment at each private name of torch says what it is for, and what to do if torch drops it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch.compiler import is_dynamo_compiling as is_dynamo_compiling

P = ParamSpec("P")
R = TypeVar("R")

# How the checks of one call run: not at all; guards first; or validation only, because torch.jit.trace is
# recording shapes and would record every comparison of sizes as a part of the model.
OFF, ON, VALIDATE_ALL = 0, 1, 2

is_inference_mode_enabled: Callable[[], bool] = torch.is_inference_mode_enabled


# For `torch.jit.trace`: whether it is recording. `torch.jit.is_tracing` is public and does the same, with
# one more Python call in each call of a checked function.
tracing_state: Callable[[], object] = torch._C._get_tracing_state  # pyright: ignore

# For errors under torch.compile: whether dynamo breaks the graph at the `raise` of an error that was created
# elsewhere. Up to torch 2.11 it fails there (no attribute `__context__`), so a function that it does not
# trace raises instead, and our frames are in the traceback.
TRACES_RAISE: bool = torch.__version__ >= "2.12"


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
    # Asked in this order, since dynamo, where it traces this, would look at each of the modules.
    if not (is_dynamo_compiling() or "torch._dynamo" in sys.modules):
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
