"""The model that a function is called with: an instance, or one error that says how to get one."""

from __future__ import annotations

from torch import nn


def require_module(model: object, function: str) -> None:
    """Refuse what is not a model, in the name of the function that takes it.

    Raises:
        TypeError: it is not a `torch.nn.Module`; a name of the zoo or a class is told what to write.
    """
    if isinstance(model, nn.Module):
        return
    from ..models.registry import MODELS  # whose contracts take a moment to check

    got = f"got {type(model).__name__}"
    if isinstance(model, str) and model in MODELS:
        got = f"got the name {model!r}: pass tinynets.create_model({model!r})"
    elif isinstance(model, type):
        got = f"got the class {model.__name__}: pass an instance, {model.__name__}(...)"
    raise TypeError(f"{function}() takes a torch.nn.Module, {got}")
