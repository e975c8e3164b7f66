"""Two models that should be equal, for the state checks: how weights are changed before saving, tied weights,
and the state that is not saved (buffers, attributes, closures) as the cause.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..._torch.modules.module_tables import MODULES, named_modules
from ..._torch.state.foreign import has_attribute
from ..._torch.state.model_walk import non_persistent, unregistered, unregistered_tensors
from ..call_helpers import named_state, quoted
from .compare import same_bits


def perturb(model: nn.Module) -> None:
    """Change every float tensor that is saved: parameters by noise, buffers by a factor that keeps signs."""
    saved = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                scale = 0.1 * max(float(parameter.abs().mean()), 0.01) if parameter.numel() else 0.0
                parameter.add_(torch.randn_like(parameter), alpha=scale)
        for name, buffer in model.named_buffers():
            if name in saved and buffer.is_floating_point():
                buffer.mul_(1 + 0.1 * torch.rand_like(buffer))


def tensors_of(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return every tensor of a model, registered or not, except those of its class, which instances share."""
    kept = [(i.path, i.value) for i in unregistered(model) if isinstance(i.value, Tensor) and not i.of_class]
    return named_state(model) + kept


def storage(tensor: Tensor) -> int:
    """Return where the memory of a tensor starts: the same for its views."""
    return tensor.untyped_storage().data_ptr()


def ties(model: nn.Module) -> set[frozenset[str]]:
    """Return the groups of names that share memory."""
    groups: dict[int, set[str]] = defaultdict(set)
    parameters = model.named_parameters(remove_duplicate=False)
    for name, tensor in (*parameters, *model.named_buffers(remove_duplicate=False)):
        if tensor.numel():
            groups[storage(tensor)].add(name)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def tied_by_data(model: nn.Module) -> str:
    """Name the parameters that share memory without being the same object, `""` if there are none."""
    groups: dict[int, dict[int, str]] = defaultdict(dict)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.numel():
            groups[storage(parameter)].setdefault(id(parameter), name)
    several = next((list(group.values()) for group in groups.values() if len(group) > 1), None)
    if several is None:
        return ""
    return f"{quoted(several)} are parameters of their own in one memory: assign the parameter, not its .data"


def spelled(ties: set[frozenset[str]]) -> str:
    """Return groups of names in words."""
    return "; ".join(sorted(" = ".join(sorted(group)) for group in ties))


def state_difference_cause(model: nn.Module, other: nn.Module) -> str:
    """Name the state that differs between the two models and is not in the state dict."""
    ours, theirs = dict(model.named_buffers()), dict(other.named_buffers())
    unsaved = [n for n in non_persistent(model) if n not in theirs or not same_bits(ours[n], theirs[n])]
    if unsaved:
        return f"{quoted(unsaved)}: a buffer with persistent=False, so it is not saved, and it is different"
    kept = dict(unregistered_tensors(other))
    plain = [p for p, t in unregistered_tensors(model) if p not in kept or not same_bits(t, kept[p])]
    if plain:
        return f"{quoted(plain)}: not registered, so it is not saved, and it is different"
    modules = dict(named_modules(other))
    different = [
        f"{path}.{name}".lstrip(".")
        for path, module in named_modules(model)
        for name, value in vars(module).items()
        if path in modules and _differs(value, vars(modules[path]).get(name))
    ]
    return (
        f"{quoted(different)}: a plain attribute, so it is not saved, and it is different"
        if different
        else ""
    )


def _differs(ours: object, theirs: object) -> bool:
    if has_attribute(ours, "tobytes") and has_attribute(theirs, "tobytes"):  # arrays of numpy
        return ours.tobytes() != theirs.tobytes()  # pyright: ignore
    # Their texts, since NaN is not equal to itself.
    return isinstance(ours, int | float | str) and repr(ours) != repr(theirs)


def find_failing_attribute(model: nn.Module, operation: Callable[[Any], object]) -> str:
    """Name the first attribute, from the innermost module outwards, on which an operation raises."""
    for path, module in reversed(named_modules(model)):
        for name, value in vars(module).items():
            if name != MODULES and _raises(operation, value):
                return f"`{path}.{name}`, a {type(value).__name__}".replace("`.", "`")
        if _raises(operation, type(module)):
            return f"the class {type(module).__qualname__}"
    return ""


def _raises(operation: Callable[[Any], object], value: object) -> bool:
    try:
        operation(value)
    except Exception:
        return True
    return False


def closures(model: nn.Module) -> str:
    """Name the attributes that are closures: a copy keeps them, and the objects that they refer to."""
    found = [
        f"{path}.{name}".lstrip(".")
        for path, module in named_modules(model)
        for name, value in vars(module).items()
        if getattr(value, "__closure__", None)
    ]
    return f"{quoted(found)}: a function keeps looking at the model that it was made for" if found else ""
