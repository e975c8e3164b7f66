"""`tinynets.optimize_for_inference`: the same model, computed by a straight line of operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .._torch.modules.wrappers import unwrapped
from ..inputs.arguments import Arguments
from ..inputs.draw import draw
from ..inputs.examples import example_arguments
from ..inputs.model_argument import require_module
from .optimized import OptimizedModel


def optimize_for_inference(model: nn.Module, *inputs: Any) -> OptimizedModel:
    """Return a callable that computes what the model computes, to the bit, in less time.

    Args:
        model: any `nn.Module` that `export` takes; it stays as it is, and may be trained on.
        inputs: the arguments of `forward`, as for `export`: tensors, shapes such as `"batch 3 32 32"`, or
            nothing where the annotations of `forward` tell. Other sizes are traced when they come.

    Raises:
        TypeError: the model is not a module, or the shapes of the inputs are unknown.
        ValueError: the model cannot be traced; the message names the line.
        ShapeError, DtypeError, ContractError: the inputs do not fit the contract.
    """
    require_module(model, "optimize_for_inference")
    model = unwrapped(model)
    fast = OptimizedModel(model)
    for example, any_size in _examples(model, inputs):
        fast.learn(example.args, example.kwargs, any_size=any_size)
        if fast.reason:
            raise ValueError(f"{type(model).__name__} cannot be optimized for inference: {fast.reason}")
    return fast


def _examples(model: nn.Module, inputs: tuple[Any, ...]) -> list[tuple[Arguments, bool]]:
    """Return what is traced at once, and whether for any size: a batch of some, and of one.

    One is special to torch. It is also what this is for, so that its line is for no other sizes.
    """
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        try:
            example = example_arguments(model, inputs, {})
        except TypeError as error:
            raise TypeError(str(error).replace("check_model", "optimize_for_inference")) from None
    if example.size is None:
        return [(example, True)]
    generator = torch.Generator().manual_seed(0)
    return [(draw(example, 1, generator), False), (draw(example, max(example.size, 2), generator), True)]
