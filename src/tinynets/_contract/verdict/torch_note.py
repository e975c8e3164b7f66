"""The note on an error of torch that passes through a checked function: module path and line, `axes:` and
`tensors:` so far; which errors get one, and only from the innermost forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...errors import ContractError
from ..annotations.class_scope import ClassScope
from ..file_names import file_name
from .descriptions import description
from .messages import Place, module_path
from .torch_remedies import torch_remedy

_BEGINNING = "in"


def add_note(
    error: Exception,
    place: Place,
    scope: ClassScope,
    owner: Any,
    sizes: Mapping[str, int | None],
    variables: Mapping[str, Any],
) -> None:
    """Add to an error of torch where it happened, the axes and tensors so far, and a remedy if one is known.

    The sizes are those of the axes bound so far, or None; the variables are the local ones of the function.
    """
    if isinstance(error, AttributeError) and error.name in scope.axes and error.obj is owner:
        error.add_note(f"{error.name} is declared as an axis in the class body: set it in __init__")
        return
    if not isinstance(error, RuntimeError | ValueError | IndexError | TypeError):
        return
    if isinstance(error, ContractError):
        return
    if any(known.startswith(_BEGINNING) for known in getattr(error, "__notes__", ())):
        return  # the innermost forward has already added its note
    path = module_path(owner)
    line = error.__traceback__.tb_lineno if error.__traceback__ else 0
    axes = [f"{name}={size}" for name, size in sizes.items() if size is not None]
    axes += [f"{name}={getattr(owner, name, '?')}" for name in sorted(scope.known_axes(owner))]
    tensors = {
        name: value
        for name, value in variables.items()
        if isinstance(value, torch.Tensor) and not name.startswith("_tn_")
    }
    where = f"{place.name}{f' at {path}' if path else ''}, line {line} of {file_name(place.filename)}"
    lines = [f"{_BEGINNING} {where}"]
    lines += [f"  axes: {'; '.join(axes)}"] if axes else []
    described = [f"{name} {description(value)}" for name, value in tensors.items()]
    lines += [f"  tensors: {'; '.join(described)}"] if tensors else []
    lines += [f"  {remedy}" for remedy in torch_remedy(error, owner, tensors)]
    error.add_note("\n".join(lines))
