"""One pass of a proof, with symbolic sizes or a real call: the annotated lines that it reached, also of plain
modules, the conditions on the way, and the line that was wrong.
"""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any

import torch
from jaxtyping import AnnotationError
from torch import nn

from .._contract.annotations.parse_hints import has_tensors
from .._contract.annotations.specs import ArraySpec, Site
from .._contract.contract import contract, contract_of
from .._contract.runtime import FunctionContract, witnessed
from .._torch.modules.module_copies import fake_copy
from .._torch.tracing.fake_tensors import fake_mode, needs_values, python_kernels, silent_fakes
from .._torch.tracing.layouts import empty_like_strides
from .._torch.tracing.shape_environment import one_program_for_all_sizes
from ..inputs.arguments import Arguments
from ..inputs.symbolic_sizes import Sizes
from .proof import Place

Axes = tuple[tuple[str, ...], ...]
"""The name of every axis of every tensor, `""` if its size is fixed."""


@dataclass
class Pass:
    """What one pass came by."""

    # Over the names of the axes, in order; None where no shape depends on one.
    conditions: list[Any] = field(default_factory=list[Any])
    # The annotated lines -> the numbers of the conditions that arose on the way to them.
    reached: dict[Place, list[int]] = field(default_factory=dict[Place, list[int]])
    error: Exception | None = None  # what ended the pass
    failed: Place | None = None  # the annotated line that is wrong, if that is the error
    judged: int = 0  # the number of conditions that had arisen when the last line was judged


def traced(model: nn.Module, example: Arguments, names: Axes, at: Mapping[str, int]) -> Pass:
    """Trace a model, in its current mode, with symbols for the sizes of named axes.

    It has no hooks of the user's, and its annotations are enforced; a private copy runs. The sizes in `at`
    decide which way the pass goes.
    """
    # C++ kernels tie symbols to numbers or reject them, so torch's Python kernels are preferred.
    first = _traced(model, example, names, at, python_kernels())
    if first.error is None or not needs_values(first.error):
        return first
    other = _traced(model, example, names, at, contextlib.nullcontext())
    return first if other.error is not None else other


def _traced(
    model: nn.Module,
    example: Arguments,
    names: Axes,
    at: Mapping[str, int],
    dispatcher: contextlib.AbstractContextManager[Any],
) -> Pass:
    sizes = Sizes(symbolic=True)
    fakes = fake_mode(sizes.environment)
    copied = fake_copy(model, fakes)

    def like(tensor: torch.Tensor, own: tuple[str, ...]) -> torch.Tensor:
        shape = [sizes.make(n, at[n]) if n else s for n, s in zip(own, tensor.shape, strict=True)]
        return empty_like_strides(shape, tensor)

    with fakes, dispatcher, silent_fakes(), one_program_for_all_sizes():
        call = example.with_tensors([like(t, own) for t, own in zip(example.tensors, names, strict=True)])
        found = watched(copied, call, lambda: sizes.count)
    # Conditions after the verdict on a line arose from writing the error.
    found.conditions = sizes.conditions()[: found.judged if found.failed else None]
    return found


def watched(model: nn.Module, call: Arguments, count: Callable[[], int] = int) -> Pass:
    """Call a private copy of a model, every annotated line of it judged; `count` numbers the conditions."""
    found = Pass()

    def witness(record: FunctionContract, site: Site, holds: bool) -> None:
        place = place_of(record, site)
        if place is None:
            return
        now = count()
        found.reached.setdefault(place, []).extend(range(found.judged, now))
        found.judged = now
        found.failed = None if holds else place  # cleared if the line holds

    # The user's own call will show the warnings.
    with witnessed(witness), torch.no_grad(), warnings.catch_warnings(action="ignore"):
        try:
            model(*call.args, **call.kwargs)
        except Exception as error:  # a forward pass may fail in any way
            found.error = error
    if found.error is None:
        found.failed = None
    return found


def enforced(model: nn.Module) -> None:
    """Enforce the annotations of the modules in a private copy that are not enforced yet."""
    made: dict[FunctionType, Callable[..., Any]] = {}
    for module in model.modules():
        forward: Any = getattr(type(module), "forward", None)
        if not isinstance(forward, FunctionType) or contract_of(forward) or "forward" in vars(module):
            continue
        if forward not in made:
            made[forward] = forward
            with contextlib.suppress(AnnotationError, NameError, TypeError):
                if any(map(has_tensors, forward.__annotations__.values())):
                    made[forward] = contract(forward)
        if made[forward] is not forward:
            module.forward = MethodType(made[forward], module)


def place_of(record: FunctionContract, site: Site) -> Place | None:
    """Return the annotated line of a site, or None if it does not declare the axes of a tensor."""
    if not isinstance(site.spec, ArraySpec):
        return None
    place = record.place
    return Place(place.filename, site.line, place.name, site.name, site.spec.axes.text, site.kind)
