"""The error of `explain`, `export` and `optimize_for_inference` for a model argument that is not a module;
for a zoo name or a class it says what to write.
"""

from __future__ import annotations

from torch import nn


def require_module(model: object, function: str) -> None:
    """Refuse what is not a model, in the name of the function that takes it.

    Raises:
        TypeError: it is not a `torch.nn.Module`; for a zoo name or a class, says what to write instead.
    """
    if isinstance(model, nn.Module):
        return
    from ..models.registry import MODELS  # imported late: building its contracts takes time

    got = f"got {type(model).__name__}"
    if isinstance(model, str) and model in MODELS:
        got = f"got the name {model!r}: pass tinynets.create_model({model!r})"
    elif isinstance(model, type):
        got = f"got the class {model.__name__}: pass an instance, {model.__name__}(...)"
    raise TypeError(f"{function}() takes a torch.nn.Module, {got}")
