"""Run constructors for names and shapes alone, when a file is loaded: without drawing weights, and with an
error if there would be too many tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_FACTORIES = frozenset(
    {
        torch.arange,
        torch.empty,
        torch.eye,
        torch.full,
        torch.linspace,
        torch.ones,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.randperm,
        torch.tensor,
        torch.zeros,
    }
)


# The functions with which `nn.Linear` and the like fill their weights.
_INITIALIZERS = frozenset(
    value for name, value in vars(nn.init).items() if name.endswith("_") and name[0] != "_"
)


class WithoutValues(TorchFunctionMode):
    """Draw no weights in a block of this thread, and raise ValueError once it creates too many tensors.

    torch's hooks on the registration of parameters are global, and other threads build models too.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count calls of tensor factories, and skip initialisers."""
        kwargs = kwargs or {}
        if func in _FACTORIES:
            self.count += 1
            if self.count > self.most:
                raise ValueError(f"it would have more than {self.most} tensors")
        elif func in _INITIALIZERS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
