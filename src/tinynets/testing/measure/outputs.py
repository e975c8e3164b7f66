"""The tensors of an output and their names (`output['logits']`): which containers, dataclasses and objects
are opened, and the outline of a structure in messages.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..._torch.tracing.pytree import children


@dataclass(frozen=True)
class Leaf:
    """One tensor of an output, with the path to it: `""` for a lone tensor, `"[0]"`, `"['logits']"`."""

    path: str
    tensor: Tensor

    @property
    def name(self) -> str:
        """The leaf in words."""
        return f"output{self.path}"


_OPAQUE = (Tensor, str, bytes, nn.Module, type, types.ModuleType, Enum, torch.Generator)


def entries(value: Any) -> list[tuple[str, Any]] | None:
    """Return what a container holds, each with its step of the path; None if it is not a container.

    Classes that are not registered with torch are opened as well: models return custom dataclasses and
    distributions.
    """
    if isinstance(value, _OPAQUE) or callable(value):
        return None
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        names: tuple[str, ...] | None = getattr(items, "_fields", None)
        steps = [f".{name}" for name in names] if names else [f"[{index}]" for index in range(len(items))]
        return list(zip(steps, items, strict=True))
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", item) for key, item in cast("Mapping[Any, Any]", value).items()]
    registered = children(value)
    if registered is not None:
        return [(f"[{index}]", item) for index, item in enumerate(registered)]
    if is_dataclass(value):
        return [(f".{field.name}", getattr(value, field.name, None)) for field in fields(value)]
    held: dict[str, Any] | None = getattr(cast("object", value), "__dict__", None)
    return None if held is None else [(f".{name}", item) for name, item in held.items()]


def leaves(output: Any) -> list[Leaf]:
    """Return the tensors of an output, in order."""
    return list(_leaves(output, "", ()))


def _leaves(value: Any, path: str, above: tuple[int, ...]) -> Iterator[Leaf]:
    if isinstance(value, Tensor):
        yield Leaf(path, value)
        return
    if id(value) in above:  # an object that contains itself
        return
    for step, item in entries(value) or ():
        yield from _leaves(item, f"{path}{step}", (*above, id(value)))


def detached(output: Any) -> list[Leaf]:
    """Return clones of the tensors of an output, without their graph."""
    return [Leaf(leaf.path, leaf.tensor.detach().clone()) for leaf in leaves(output)]


def outline(value: Any, *, sizes: bool = True) -> str:
    """Return a value in Python syntax, with each leaf replaced by its type.

    Args:
        value: an output, or arguments.
        sizes: whether to write a tensor as `float32[4 6]` rather than `float32 of rank 2`.
    """

    def tensor(leaf: Tensor) -> str:
        dtype = str(leaf.dtype).removeprefix("torch.")
        return f"{dtype}[{' '.join(map(str, leaf.shape))}]" if sizes else f"{dtype} of rank {leaf.ndim}"

    return _outlined(value, tensor, ())


def _outlined(value: Any, tensor: Callable[[Tensor], str], above: tuple[int, ...]) -> str:
    if isinstance(value, Tensor):
        return tensor(value)
    held = None if id(value) in above else entries(value)
    name = type(value).__name__
    if held is None:
        return name
    inside = [(step, _outlined(item, tensor, (*above, id(value)))) for step, item in held]
    texts = [text for _, text in inside]
    if type(value) is list:
        return f"[{', '.join(texts)}]"
    if type(value) is tuple:
        return f"({', '.join(texts)}{',' * (len(texts) == 1)})"
    if isinstance(value, Mapping):
        shown = f"{{{', '.join(f'{step[1:-1]}: {text}' for step, text in inside)}}}"
        return shown if name == "dict" else f"{name}({shown})"
    return f"{name}({', '.join(f'{step[1:]}={text}' if step[0] == '.' else text for step, text in inside)})"
