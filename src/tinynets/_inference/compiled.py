"""`CompiledModel`, the callable of `optimize_for_inference` with a backend: compiled once, compared with the
model to 1e-4, `RuntimeError` if copied weights have changed, `refresh()`, `repr`, no pickling.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from .._torch.tracing.torch_warnings import ignored_torch_deprecations
from ..inputs.arguments import Arguments
from ..modes import inference
from ..state_dict import tensors_of
from .backends import Backend
from .optimized import OptimizedModel, agree
from .program_code import version_of
from .straight_line import write_line
from .trace import trace
from .watch import Watch

_State = tuple[Tensor, int, int, torch.dtype]
_TOLERANCE = 1e-4  # of the largest value; only meant to detect a wrong program


class CompiledModel(OptimizedModel):
    """A model as a compiled program, called like the model.

    It is compiled once, for the given arguments at any batch size; calls with other arguments run the model.
    A program with copies of the weights raises if the model has visibly changed.
    """

    def __init__(self, model: nn.Module, backend: Backend, example: Arguments) -> None:
        super().__init__(model)
        self._backend = backend
        self._example = example
        self.refresh()

    def refresh(self) -> None:
        """Compile the model in its current state.

        Raises:
            ValueError: the model cannot be compiled; the message says why.
            ShapeError, DtypeError, ContractError: the example no longer fits the contract.
        """
        self._backend.require(self.model)
        with self._lock:
            self._bind(Watch(self.model), ())
            self._copied = _weights(self.model)
            with inference(self.model):
                expected = self.model(*self._example.args, **self._example.kwargs)
            try:
                self._compile(expected)
            except Exception as error:  # torch and the compiler may raise anything
                name, title = type(self.model).__name__, self._backend.title
                raise ValueError(f"{name} cannot be optimized by {title}: {_why(error)}") from error

    def learn(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, any_size: bool) -> Any:
        """Call the model.

        Raises:
            RuntimeError: the model has visibly changed since the program copied its weights.
        """
        if stale := self._stale():
            name, title = type(self.model).__name__, self._backend.title
            raise RuntimeError(f"{name} is not what it was when {title} copied it: {stale}. Call refresh()")
        with inference(self.model):
            return self.model(*args, **kwargs)

    def __repr__(self) -> str:
        note = "" if self._lines else "; its structure has changed, so it runs itself until refresh()"
        return f"CompiledModel({type(self.model).__name__}, {self._backend.title}{note})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"a program of {self._backend.title} can be neither copied nor pickled: copy the model, and call "
            "optimize_for_inference where it is used"
        )

    def _compile(self, expected: Any) -> None:
        args, kwargs = self._example.args, self._example.kwargs
        if reason := self._why_not(self._watch):
            raise ValueError(reason)
        with ignored_torch_deprecations():
            traced = trace(self.model, args, kwargs, any_size=True, batch_axes=self._example.axes)
            line = write_line(traced, inspect.signature(self.model.forward), self._watch, self._backend)
        if not agree(line.bind(self._watch, in_block=True)(*args, **kwargs), expected, _similar):
            raise ValueError("the program gives other results than the model")
        self._bind(self._watch, (line,))

    def _renew(self) -> None:
        if not self._stale():
            super()._renew()

    def _stale(self) -> str:
        """Return how the model differs from the one that was copied, or ""."""
        if not self._backend.copies_weights:
            return ""
        before, now = self._copied, _weights(self.model)
        for name in {**before, **now}:
            if name not in before or name not in now or now[name][0] is not before[name][0]:
                return f"{name} is another tensor"
            if now[name] != before[name]:
                return f"{name} was written to"
        same = Watch(self.model).same_structure(self._watch)
        return self._watch.refusal() if same else "its modules or attributes"


def _weights(model: nn.Module) -> dict[str, _State]:
    """Return each weight of a model, and what shows whether it was written to."""
    return {
        name: (tensor, 0 if tensor.is_inference() else version_of(tensor), tensor.data_ptr(), tensor.dtype)
        for name, tensor in tensors_of(model)
    }


def _why(error: BaseException) -> str:
    """Return the first error of the chain: the errors that wrap it describe stages of the compiler."""
    if isinstance(error, ValueError) or error.__cause__ is None:
        text = " ".join(str(error).split())[:400]
        return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
    return _why(error.__cause__)


def _similar(ours: Any, theirs: Any) -> bool:
    if not isinstance(ours, Tensor) or ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    scale = float(theirs.abs().max()) if theirs.numel() else 0.0
    return torch.allclose(ours, theirs, rtol=0, atol=_TOLERANCE * scale, equal_nan=True)
