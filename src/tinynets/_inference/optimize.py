"""`tn.optimize_for_inference`: its arguments and errors, and what it traces when it is called: a batch of
one, and a batch of any size.
"""

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
    """Return a faster callable with the same outputs as the model: bit-identical, without a backend.

    Args:
        model: any `nn.Module` that `export` accepts; it is not modified, and may be trained further.
        inputs: the arguments of `forward`, as for `export`: tensors, shapes such as `"batch 3 32 32"`, or
            nothing if `forward` is annotated. Other sizes are traced on their first call; with a backend,
            only the batch size may differ, and the model itself runs for all other sizes.
        backend: None generates Python code. `"aoti"` compiles the operations with AOTInductor, which takes
            tens of seconds, requires a C++ compiler, and reads the weights from the model. `"onnxruntime"`
            copies the weights (requires `tinynets[onnx]`): a call raises RuntimeError if the model has
            visibly changed, until `refresh()`. With both, the last digits may differ.

    Raises:
        TypeError: the model is not a module, or the shapes of the inputs are unknown.
        ValueError: the backend is unknown or not available; or the model cannot be traced, and the message
            names the line.
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
    if example.size is not None:  # torch specialises size 1, the main use here: it gets its own line
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
