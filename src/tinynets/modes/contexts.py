"""`tn.training`, `tn.evaluating` and `tn.inference`: the flag and the autograd mode of each, `keep_training`
and `keep_eval`, and the error for weights made under `inference_mode`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .._torch.modules.module_tables import own_parameters
from ..errors import ModeError
from .autograd import enter_autograd_mode, leave_autograd_mode
from .context_base import ModeContext
from .flags import walk
from .module_filter import Selectors, as_tuple, select
from .with_blocks import Block


class _Pass:
    """One pass through the block."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.guard: torch.inference_mode | None = None


class _SwitchedMode(ModeContext[_Pass]):
    def __init__(
        self,
        name: str,
        models: tuple[nn.Module, ...],
        *,
        training: bool,
        autograd: bool | None,
        keep: Selectors,
    ) -> None:
        super().__init__(name, models)
        self._training = training
        self._autograd = autograd
        self._keep_argument = "keep_eval" if training else "keep_training"
        self._keep = as_tuple(self._keep_argument, keep)
        if self._keep:
            # Raises early for a name that does not exist.
            select(self._keep_argument, self._keep, models)

    def _prepare(self) -> _Pass:
        wanted = dict.fromkeys(walk(self._models), self._training)
        if self._keep:
            for module in select(self._keep_argument, self._keep, self._models):
                wanted[module] = not self._training
        if self._training:
            _refuse_inference_tensors(wanted)
        return _Pass(Block(wanted, approves=not self._training))

    def _enter(self, token: _Pass) -> None:
        token.block.enter()
        if self._autograd is not None:
            token.guard = torch.inference_mode(not self._autograd)
            enter_autograd_mode(token.guard)

    def _leave(self, token: _Pass) -> None:
        try:
            if token.guard is not None:
                leave_autograd_mode(token.guard)
        finally:
            token.block.leave()


def training(*models: nn.Module, keep_eval: Selectors = ()) -> _SwitchedMode:
    """Switch to train mode with autograd on, even inside `no_grad` or `inference_mode`; then restore both.

    Args:
        models: one or more; each submodule gets its own flag back.
        keep_eval: types, names or modules that stay in eval mode, with everything below them.

    Raises:
        TypeError: an argument is not a model.
        ValueError: `keep_eval` names something that no model has.
        ModeError: a model is exported; on entry, one was built under `inference_mode`, or another thread
            holds one in eval mode.

    Examples:
        >>> model.eval().training
        False
        >>> with tn.training(model):
        ...     loss = model(images).logsumexp(1).mean()  # with dropout
        >>> model.training
        False
    """
    return _SwitchedMode("training", models, training=True, autograd=True, keep=keep_eval)


def evaluating(*models: nn.Module, keep_training: Selectors = ()) -> _SwitchedMode:
    """Switch to eval mode and leave autograd unchanged; then restore the mode of every submodule.

    For gradients of an evaluated model: saliency, adversarial examples, distillation.

    Args:
        models: one or more; each submodule gets its own flag back.
        keep_training: types, names or modules put in train mode instead, with everything below them.

    Raises:
        TypeError: an argument is not a model.
        ValueError: `keep_training` names something that no model has.
        ModeError: a model is exported, or another thread holds it in train mode (on entry).

    Examples:
        >>> images.requires_grad_().grad is None
        True
        >>> with tn.evaluating(model):
        ...     model(images)[:, 3].sum().backward()
        >>> images.grad.shape
        torch.Size([2, 1, 28, 28])
    """
    return _SwitchedMode("evaluating", models, training=False, autograd=None, keep=keep_training)


def inference(*models: nn.Module, keep_training: Selectors = ()) -> _SwitchedMode:
    """Switch to eval mode and `torch.inference_mode`; then restore the mode of every submodule.

    Args:
        models: one or more; each submodule gets its own flag back.
        keep_training: types, names or modules put in train mode instead, with everything below them, such as
            `nn.Dropout` for Monte Carlo dropout.

    Raises:
        TypeError: an argument is not a model.
        ValueError: `keep_training` names something that no model has.
        ModeError: a model is exported, or another thread holds it in train mode (on entry).

    Examples:
        >>> with tn.inference(model):
        ...     digits = model(images).argmax(1)
        >>> digits.shape
        torch.Size([2])
    """
    return _SwitchedMode("inference", models, training=False, autograd=False, keep=keep_training)


def _refuse_inference_tensors(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        for name, parameter in own_parameters(module).items():
            if parameter is not None and not is_lazy(parameter) and parameter.is_inference():
                raise ModeError(
                    f"{type(module).__name__} cannot be trained: its {name} was made under inference_mode\n"
                    "  Build or load the model outside of torch.inference_mode(); this one can be repaired"
                    " by model = copy.deepcopy(model), also outside."
                )
