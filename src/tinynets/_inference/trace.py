"""Trace a model with `torch.export` for `optimize_for_inference`: in eval mode, which sizes are free, the
tensors that the graph reads, and the error that names the line that cannot be traced.
"""

# The types of torch.export are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from .._torch.modules.module_copies import shallow_copy
from .._torch.state.model_walk import unregistered_tensors
from .._torch.tracing import pytree
from .._torch.tracing.exported_graph import (
    conditions,
    constant_tensors,
    export_program,
    mutated_buffers,
    size_of,
    weight_names,
)
from .._torch.tracing.torch_warnings import ignored_torch_deprecations
from ..modes import evaluating
from ..state_dict import tensors_of


@dataclass(frozen=True)
class Trace:
    """One traced call."""

    program: ExportedProgram
    tensors: Mapping[str, Tensor]  # placeholder -> parameter, buffer or other tensor that it stands for
    paths: Mapping[str, str]  # placeholder -> path of a parameter or buffer
    leaves: Mapping[str, Any]  # placeholder -> leaf of the arguments, as it was
    shapes: Mapping[str, Sequence[int | str]]  # placeholder -> the sizes of a tensor: numbers, or names
    conditions: Sequence[str]  # what the named sizes must satisfy, as Python source
    taken: Any  # how leaves are arranged in `(args, kwargs)`
    returned: Any  # how outputs are arranged
    alone: bool  # whether the arguments are leaves themselves, without containers

    @property
    def graph(self) -> torch.fx.Graph:
        """The operations."""
        return self.program.graph

    @property
    def read(self) -> list[str]:
        """The placeholders that an operation reads, in the order of the graph."""
        return [node.name for node in self.graph.nodes if node.op == "placeholder" and node.users]


def trace(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    any_size: bool,
    batch_axes: Sequence[int | None] | None = None,
) -> Trace:
    """Trace a call in eval mode, only for its sizes or for as many as possible.

    With `any_size`, every axis that is longer than 1 is free; with the batch axis of each tensor, that alone,
    for every size.

    Raises:
        ValueError: the call cannot be traced; the message says why, and in which line.
    """
    # Copy the modules, but not the tensors: torch replaces the tensors in the tables while it traces.
    state = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    copy = shallow_copy(model, state)
    args, kwargs = pytree.tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), (args, kwargs))
    try:
        with (
            ignored_torch_deprecations(),
            torch.random.fork_rng(devices=[]),
            evaluating(copy),
            torch.inference_mode(False),
            torch.no_grad(),
        ):
            program = export_program(copy, args, kwargs, any_size=any_size, batch_axes=batch_axes)
    except Exception as error:  # torch and the model may raise anything
        raise ValueError(_why(error)) from error
    if buffers := mutated_buffers(program):
        raise ValueError(f"it assigns its buffer {buffers[0]} when it is called")
    leaves, taken = pytree.tree_flatten((args, kwargs))
    names = [str(node.name) for node in program.graph.nodes if node.op == "placeholder"][-len(leaves) :]
    by_name = dict(zip(names, leaves, strict=True)) if leaves else {}
    metadata = {node.name: node.meta.get("val") for node in program.graph.nodes}
    shapes = {
        name: [size_of(size) for size in metadata[name].shape]
        for name, leaf in by_name.items()
        if isinstance(leaf, Tensor)
    }
    symbols = frozenset(size for shape in shapes.values() for size in shape if isinstance(size, str))
    paths = weight_names(program)
    named = dict(tensors_of(model))
    weights = {placeholder: named[path] for placeholder, path in paths.items()}
    return Trace(
        program=program,
        tensors={**weights, **_own_constants(model, constant_tensors(program))},
        paths=paths,
        leaves=by_name,
        shapes=shapes,
        conditions=conditions(program, symbols),
        taken=taken,
        returned=program.call_spec.out_spec,
        alone=len(leaves) == len(args) + len(kwargs),
    )


def _own_constants(model: nn.Module, constants: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace aliases by the tensors of the model that they stand for.

    This includes registered tensors: a patched `forward` may reach them through a closure, bypassing the
    traced copy.
    """
    registered = (*model.parameters(), *model.buffers())
    own = {_storage(tensor): tensor for _, tensor in unregistered_tensors(model)}
    own.update((_storage(tensor), tensor) for tensor in registered)
    return {name: own.get(_storage(tensor), tensor) for name, tensor in constants.items()}


def _storage(tensor: Tensor) -> tuple[Any, ...]:
    place = tensor.data_ptr() or id(tensor)
    return (place, tensor.shape, tensor.stride(), tensor.dtype, tensor.device)


def _why(error: BaseException) -> str:
    """Return the message of torch or the model, and the innermost line of the user's code."""
    text = " ".join(str(error).strip().partition("\n\n")[0].split())
    text = text.replace('For more information, run with TORCH_LOGS="+dynamic". - ', "")[:300]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_of_a_library(frame.filename)]
    place = f", at line {own[-1].lineno} of {Path(own[-1].filename).name}: {own[-1].line}" if own else ""
    return f"torch.export raised {type(error).__name__}: {text}{place}"


_LIBRARIES = tuple(f"/{name}/" for name in ("torch", "einops", "_inference", "_torch", "modes"))


def _is_of_a_library(path: str) -> bool:
    path = path.replace("\\", "/")
    standard = "/lib/python3" in path and "site-packages" not in path
    return standard or path.startswith("<") or any(name in path for name in _LIBRARIES)
