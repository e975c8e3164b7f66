"""`tinynets.optimize_for_inference`: the same model, computed by a straight line of operations."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from .._torch.modules.wrappers import unwrapped
from ..inputs.arguments import Arguments
from ..inputs.draw import draw
from ..inputs.examples import example_arguments
from ..inputs.model_argument import require_module
from .backends import backend_of
from .compiled import CompiledModel
from .optimized import OptimizedModel
from .watch import Watch


def optimize_for_inference(
    model: nn.Module, *inputs: Any, backend: Literal["aoti", "onnxruntime"] | None = None
) -> OptimizedModel:
    """Return a callable that computes what the model computes, in less time: to the bit, without a backend.

    Args:
        model: any `nn.Module` that `export` takes; it stays as it is, and may be trained on.
        inputs: the arguments of `forward`, as for `export`: tensors, shapes such as `"batch 3 32 32"`, or
            nothing where the annotations of `forward` tell. Other sizes are traced when they come; with a
            backend, only the batch may have another size, and for other sizes the model itself runs.
        backend: None writes the operations down in Python. `"aoti"` compiles them with AOTInductor, which
            takes tens of seconds and a C++ compiler, and reads the weights where the model has them.
            `"onnxruntime"` copies the weights (requires `tinynets[onnx]`): a call raises RuntimeError where
            the model has visibly changed, until `refresh()`. Both compute other last digits.

    Raises:
        TypeError: the model is not a module, or the shapes of the inputs are unknown.
        ValueError: an unknown backend, or one that cannot be had here; or the model cannot be traced, and the
            message names the line.
        ShapeError, DtypeError, ContractError: the inputs do not fit the contract.
        ModuleNotFoundError: a package for ONNX is missing.

    Examples:
        >>> fast = tn.optimize_for_inference(model.eval(), images)
        >>> with tn.inference(model):
        ...     torch.equal(fast(images), model(images))
        True
    """
    require_module(model, "optimize_for_inference")
    model = unwrapped(model)
    compiler = None if backend is None else backend_of(backend)
    if compiler is not None:
        compiler.require(model)
    example = _example(model, inputs)
    generator = torch.Generator().manual_seed(0)
    several = example if example.size is None else draw(example, max(example.size, 2), generator)
    if compiler is not None:
        return CompiledModel(model, compiler, several)
    fast = OptimizedModel(model)
    fast.reason = Watch(model).refusal()
    _raise_for(fast)
    if example.size is not None:  # one is special to torch, and what this is for: it has its own line
        _learn(fast, draw(example, 1, generator), any_size=False)
    _learn(fast, several, any_size=True)
    return fast


def _learn(fast: OptimizedModel, example: Arguments, *, any_size: bool) -> None:
    fast.learn(example.args, example.kwargs, any_size=any_size)
    _raise_for(fast)


def _raise_for(fast: OptimizedModel) -> None:
    if fast.reason:
        raise ValueError(f"{type(fast.model).__name__} cannot be optimized for inference: {fast.reason}")


def _example(model: nn.Module, inputs: tuple[Any, ...]) -> Arguments:
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        try:
            return example_arguments(model, inputs, {})
        except TypeError as error:
            raise TypeError(str(error).replace("check_model", "optimize_for_inference")) from None
