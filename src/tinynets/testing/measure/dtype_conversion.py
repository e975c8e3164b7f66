"""Run the model in another dtype, for the dtype checks: the module that changes it back, tensors left behind,
values that are not finite, and dtypes without a kernel.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..._torch.modules.hook_recorder import forward_hooks
from ..._torch.state.model_walk import unregistered_tensors
from ..._torch.tracing import pytree
from ...errors import Failure, Skip
from ..call_helpers import quoted
from ..subject import Subject
from .compare import Leaf, worst

_COMPLEX = {torch.float64: torch.complex128, torch.float32: torch.complex64, torch.float16: torch.complex32}
_KERNEL_NAMES = {torch.float64: "Double", torch.float16: "Half", torch.bfloat16: "BFloat16"}


def outputs_as(subject: Subject, dtype: torch.dtype, model: nn.Module | None = None) -> list[Leaf]:
    """Convert the model and its inputs to a dtype and return its outputs in eval mode.

    Args:
        subject: the model under test.
        dtype: the float dtype.
        model: another instance, already in the dtype, to run instead.

    Raises:
        Failure: the model raised, or an output has another dtype; its cause says which module changed it.
        Skip: there is nothing to convert.
    """
    batch = subject.batch()
    tensors = [*subject.model.parameters(), *batch.tensors]
    source = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)
    if source is None:
        raise Skip("neither the inputs nor the parameters are floating-point")
    if source == dtype:
        raise Skip(f"the model is {name_of(dtype)} already")
    converted = _convert(subject.model, dtype) if model is None else model
    batch = batch.to(dtype)
    try:
        found = subject.outputs(batch, model=converted)
    except Failure as failure:
        if _no_kernel(failure, dtype):
            raise Skip(f"there is no kernel for {name_of(dtype)} here: {failure.what}") from None
        failure.cause = failure.cause or _where_it_leaves(subject, batch, converted, dtype)
        raise
    for leaf, ours in zip(found, subject.reference, strict=True):
        expected = converted_dtype(ours.tensor.dtype, source, dtype)
        if leaf.tensor.dtype != expected:
            raise Failure(
                f"the model is {name_of(dtype)}, and gives {name_of(leaf.tensor.dtype)}",
                where=leaf.name,
                cause=_where_it_leaves(subject, batch, converted, dtype),
            )
    return found


def low_precision(subject: Subject, dtype: torch.dtype) -> str:
    """Run the model in a dtype and return how far its outputs are off, for a note.

    Raises:
        Failure: the model raised, or gave something that is not finite.
    """
    found = outputs_as(subject, dtype)
    for leaf, ours in zip(found, subject.reference, strict=True):
        bad = int((~leaf.tensor.isfinite() & ours.tensor.isfinite()).sum())
        if bad:
            raise Failure(
                f"the output is not finite in {name_of(dtype)}",
                where=leaf.name,
                size=f"{bad} of {leaf.tensor.numel()} values",
            )
    error = worst(found, subject.reference)
    return f"error {error.error:.0e} of the largest value" if error is not None else "no error"


def _no_kernel(failure: Failure, dtype: torch.dtype) -> bool:
    """Return whether the platform is the cause: torch lacks an operation for the dtype."""
    text = str(failure.error)
    named = _KERNEL_NAMES.get(dtype, "") in text
    return named and (
        isinstance(failure.error, NotImplementedError)
        or "not implemented for" in text
        or re.search(r"Expected \w+ to be .* matrix, got", text) is not None
    )


def _convert(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Convert floats to a dtype, and complex numbers to the complex dtype of its precision, if any."""

    def convert(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(_COMPLEX.get(dtype, tensor.dtype))
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return cast("Any", model)._apply(convert)


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a dtype without `torch.`."""
    return str(dtype).removeprefix("torch.")


def left_behind(model: nn.Module, dtype: torch.dtype) -> str:
    """Name the unregistered float tensors of another dtype, which `.to()` does not reach."""
    found = [path for path, t in unregistered_tensors(model) if t.is_floating_point() and t.dtype != dtype]
    return f"{quoted(found)}: not registered, so .to() does not reach it" if found else ""


def converted_dtype(dtype: torch.dtype, source: torch.dtype, target: torch.dtype) -> torch.dtype:
    """Return the new dtype after floats, and complex numbers, of one precision are converted to another."""
    if dtype == source:
        return target
    return _COMPLEX.get(target, dtype) if dtype == _COMPLEX.get(source) else dtype


def _where_it_leaves(subject: Subject, batch: Any, model: nn.Module, dtype: torch.dtype) -> str:
    """Name the first module called with, or returning, floats of another dtype."""
    found: list[str] = []

    def look(path: str, module: nn.Module, verb: str, values: Any) -> None:
        tensors = [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]
        other = [t.dtype for t in tensors if t.is_floating_point() and t.dtype != dtype]
        if other and not found:
            label = f"`{path}` ({type(module).__name__})" if path else type(module).__name__
            found.append(f"{label} is the first to {verb} {name_of(other[0])}")

    def before(path: str, module: nn.Module, args: object, kwargs: object) -> None:
        look(path, module, "get", (args, kwargs))

    def after(path: str, module: nn.Module, output: object) -> None:
        look(path, module, "give", output)

    with suppress(Failure), forward_hooks(model, before=before, after=after):
        subject.run(batch, model=model)
    return "; ".join([*found, *filter(None, [left_behind(model, dtype)])])
