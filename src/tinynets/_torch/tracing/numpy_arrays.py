"""The dtype of a NumPy array under dynamo, which traces arrays but not their `dtype`."""

from __future__ import annotations

from typing import Any

import torch


def has_traced_dtype(array: Any, family: str, names: tuple[str, ...]) -> bool:
    """Return whether the dtype of an array is one of `names`; if not, break the graph."""
    # For NumPy arrays under torch.compile. Without it, each checked array breaks the graph.
    torch._dynamo.comptime.comptime(_break_unless_dtype)  # pyright: ignore
    return torch.compiler.is_dynamo_compiling() or array.dtype.name in names


def _break_unless_dtype(context: Any) -> None:
    # Dynamo runs this while it traces `has_traced_dtype`, and guards on the dtype of the array.
    dtype = str(context.get_local("array").as_fake().dtype).removeprefix("torch.")
    if dtype not in context.get_local("names").as_python_constant():
        family = context.get_local("family").as_python_constant()
        # After the break, the function runs uncompiled. Compiled alone, it would be traced, and return True.
        torch._dynamo.eval_frame.skip_code(has_traced_dtype.__code__)  # pyright: ignore
        context.graph_break(f"expected an array of {family}, got {dtype}")
