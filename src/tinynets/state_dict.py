"""State dicts that must fit a model exactly: the complaints `missing`, `unexpected`, `misshapen`, `mistyped`,
how many values are NaN or infinite and where the first is, and shared tensors, stored once.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import torch
from torch import Tensor, nn

from ._torch.modules.wrappers import strip_prefixes
from .errors import CheckpointError

_MOST_COMPLAINTS = 8


def load_weights(
    module: nn.Module, state_dict: Mapping[str, Tensor], own_names: Mapping[str, str] | None = None
) -> None:
    """Copy weights into a model; all names and shapes must match, except for prefixes of wrappers.

    Messages have a name of `own_names` for one that somebody has changed: what it was called before.

    Raises:
        CheckpointError: names or shapes do not match; the message lists them.
    """
    tensors = strip_prefixes(state_dict)
    complaints = misfits(module, {name: list(tensor.shape) for name, tensor in tensors.items()}, own_names)
    if complaints:
        missed = len(complaints) - _MOST_COMPLAINTS
        rest = f"\n  ... and {missed} more" if missed > 0 else ""
        listed = "\n  ".join(complaints[:_MOST_COMPLAINTS])
        raise CheckpointError(f"the state dict does not fit {type(module).__name__}:\n  {listed}{rest}")
    module.load_state_dict(with_shared(module, tensors))


def misfits(
    module: nn.Module, shapes: Mapping[str, list[int]], own_names: Mapping[str, str] | None = None
) -> list[str]:
    """Compare names and shapes with those of a model, and return one line for each difference."""
    own_names = own_names or {}
    expected = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    first_names = first_names_of(module)
    required = {name for name in expected if first_names.get(name, name) == name}
    complaints = [f"missing {name} {expected[name]}" for name in expected if name in required - shapes.keys()]
    complaints += [
        f"unexpected {own_names.get(name, name)} {shapes[name]}" for name in shapes if name not in expected
    ]
    complaints += [
        f"misshapen {own_names.get(name, name)}: {shapes[name]} where {expected[name]} is expected"
        for name in expected
        if name in shapes and shapes[name] != expected[name]
    ]
    return complaints


def mistyped(module: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return one line for each tensor whose dtype cannot replace that of the model.

    A model may be saved in a different floating dtype than it is built in; ints cannot replace floats.
    """
    return [
        f"mistyped {name}: {tensors[name].dtype} where {expected.dtype} is expected"
        for name, expected in tensors_of(module)
        if name in tensors and not _exchangeable(tensors[name].dtype, expected.dtype)
    ]


def _exchangeable(one: torch.dtype, other: torch.dtype) -> bool:
    floating = one.is_floating_point and other.is_floating_point
    return one == other or floating or (one.is_complex and other.is_complex)


def nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """Describe the first tensor that contains NaN or an infinity."""
    for name, tensor in tensors.items():
        if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
            wide = tensor.float() if tensor.element_size() < 4 else tensor
            # A sum is several times faster than checking each value, and finite only if all values are.
            if not wide.sum().isfinite() and not wide.isfinite().all():
                wrong = (~wide.isfinite()).nonzero()
                first = [int(place) for place in wrong[0]]
                return f"holds {len(wrong)} values in {name} that are not finite, the first at {first}"
    return None


def computed_buffers(module: nn.Module, stored: Container[str]) -> dict[str, Tensor]:
    """Return the buffers that are not stored with the state dict, since the constructor computes them."""
    return {name: buffer for name, buffer in module.named_buffers() if name not in stored}


def set_tensor(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Bind a name of a parameter or buffer to another tensor."""
    owner, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(owner), attribute, tensor)


def tensors_of(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return every parameter and buffer under all of its names."""
    parameters = list(module.named_parameters(remove_duplicate=False))
    return [*parameters, *module.named_buffers(remove_duplicate=False)]


def first_names_of(module: nn.Module) -> dict[str, str]:
    """Map every name of a parameter or buffer to the first name of the same tensor."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors_of(module)}


def without_shared(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep only the first name of a tensor that has several."""
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in state_dict.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (name,)
        first.setdefault(key, name)
    kept = set(first.values())
    return {name: tensor for name, tensor in state_dict.items() if name in kept}


def with_shared(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the other names of every tensor that the model shares and that is stored once."""
    shared = {
        name: tensors[first]
        for name, first in first_names_of(module).items()
        if name not in tensors and first in tensors
    }
    return {**tensors, **shared}


def share_again(module: nn.Module, first_names: Mapping[str, str]) -> None:
    """Bind every other name of a shared tensor to that tensor, after `load_state_dict(assign=True)`."""
    tensors = dict(tensors_of(module))
    for name, first in first_names.items():
        if name != first:
            set_tensor(module, name, tensors[first])
