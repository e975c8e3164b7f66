from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from ...._torch.state.model_walk import unregistered, unregistered_tensors
from ...._torch.state.walk_item import Reachable
from ... import Failure, Level, Subject, check
from ...call_helpers import named_state, quoted
from ...measure.compare import same_bits
from ...measure.state_compare import storage


@check("state.registered", Level.MUST, static=True)
def registered(subject: Subject) -> None:
    """Every tensor and module that the model holds is registered.

    The check searches attributes and the class body, and in them containers, plain objects, partials, bound
    methods and closures, up to six levels deep.

    Why: `.to()`, `.parameters()`, `state_dict()` and `.train()` see only what is registered. All other
    tensors are not trained, not moved to a GPU and not saved in a checkpoint.
    Fix: use `nn.ModuleList` for lists of modules and `nn.ModuleDict` for dicts; `nn.Parameter` for a tensor
    that is trained; and `self.register_buffer(name, tensor)` for one that is not, with `persistent=False` if
    the constructor can compute it again.
    Declare: an exemption, for a module that is hidden on purpose (a frozen teacher).
    """
    found = [item for item in unregistered(subject.model) if not _empty(item.value)]
    if found:
        kinds = sorted({_kind(item) for item in found})
        raise Failure(
            f"the model holds {' and '.join(kinds)} that are not registered",
            where=quoted([item.path for item in found]),
            cause=_unregistered(found[0], subject),
        )


def _empty(value: Any) -> bool:
    """Return whether a value is an empty tensor, the placeholder for one that does not exist yet."""
    return isinstance(value, Tensor) and value.numel() == 0


def _kind(item: Reachable) -> str:
    if isinstance(item.value, nn.Module):
        return "modules"
    return "parameters" if isinstance(item.value, nn.Parameter) else "tensors"


def _unregistered(item: Reachable, subject: Subject) -> str:
    name = f"`{type(item.owner).__name__}.{item.attribute}`"
    if item.of_class:
        return f"{name} is made in the class body, once for all instances: make it in __init__"
    holder: Any = getattr(item.owner, item.attribute)
    made = type(holder).__name__
    kind = "Dict" if isinstance(holder, dict) else "List"
    if isinstance(holder, FunctionType | MethodType | partial):
        return f"{name} is a {made} that uses it: make it an attribute of its own as well"
    if isinstance(item.value, nn.Module):
        return f"{name} is a {made}: use nn.Module{kind}"
    if isinstance(item.value, nn.Parameter):
        return f"{name} is a {made}: use nn.Parameter{kind}"
    for path, tensor in named_state(subject.model):
        if storage(tensor) == storage(item.value):
            return f"it shares the memory of `{path}` until that is moved: compute it in forward"
    made_again = "" if _drawn(item, subject) else ", persistent=False"
    return f'{name} holds a plain tensor: self.register_buffer("{item.attribute}", ...{made_again})'


def _drawn(item: Reachable, subject: Subject) -> bool:
    """Return whether the constructor draws a tensor at random, so that only a checkpoint can restore it."""
    try:
        other = dict(unregistered_tensors(subject.fresh(subject.seed + 1)))
    except Exception:  # there is no factory, or it broke, which other checks report
        return False
    return item.path in other and not same_bits(other[item.path], item.value)
