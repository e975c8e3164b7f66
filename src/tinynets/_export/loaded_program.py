"""`Exported`, what `tn.load_exported` returns: its call by position or name, without gradients, its
attributes and `repr`; and what each format supplies for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._torch.tracing.pytree import tree_leaves
from .accept import MISS, accepting_call
from .exported_contract import Signature


@dataclass(frozen=True)
class TensorInfo:
    """What the program in a file says about a tensor, apart from the contract; nothing if it is unknown."""

    name: str = ""
    dtype: str = ""  # as torch writes it
    shape: tuple[int | None, ...] | None = None  # one size per axis, None for any


@dataclass(frozen=True)
class LoadedProgram:
    """A program that can be run, and its description of its tensors."""

    run: Callable[[list[Tensor]], Any]
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]


class Exported:
    """An exported model, called like the original: in eval mode and without gradients.

    Attributes:
        path: the file.
        format: `"pt2"`, `"aoti"` or `"onnx"`.
        signature: the contract, with the class, the constructor's arguments and the normalisation.
    """

    def __init__(
        self, path: Path, format: str, signature: Signature, run: Callable[[list[Tensor]], Any]
    ) -> None:
        self.path = path
        self.format = format
        self.signature = signature
        self._run = torch.no_grad()(run)
        # Compiled programs and ONNX Runtime record nothing for autograd, unless an input asks for it.
        self._accepting_call = accepting_call(signature, self._run if format == "pt2" else run)
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self._parameters = inspect.Signature([inspect.Parameter(t.name, kind) for t in signature.inputs])

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Any:
        """Run the program.

        Raises:
            TypeError: too many or too few arguments.
            ShapeError, DtypeError, ContractError: an argument or a result does not fit the contract.
        """
        if self._accepting_call is not None:
            try:
                result = self._accepting_call(*inputs, **named)
                if result is not MISS:
                    return result
            except Exception:
                pass  # the error is raised below
        values: list[Any] = list(self._parameters.bind(*inputs, **named).arguments.values())
        bindings = self.signature.check_inputs(values)
        returned = self._run(values)
        self.signature.check_outputs(tree_leaves(returned), bindings)
        return returned

    def __repr__(self) -> str:
        return f"Exported({self.format}, {self.signature})"
