from __future__ import annotations

import torch
from torch import Tensor

from ...._torch.modules.module_tables import named_modules
from ...._torch.state.model_walk import non_persistent, unregistered_tensors
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import named_state, quoted
from ...measure.compare import worst
from ...measure.model_errors import raised, short
from ...measure.state_compare import spelled, ties


@check("device.meta_init", Level.CAPABILITY)
def meta_init(subject: Subject) -> str | None:
    """Built on the meta device, then allocated and loaded, the model gives bit-identical outputs.

    The check fills the allocated memory with NaN and garbage first, since fresh memory may hold anything. It
    calls `reset_parameters()` of modules with non-persistent buffers, as FSDP does.

    Why: large models are built this way, to save the time and memory for initial weights that are
    overwritten.
    Fix: fill buffers with `persistent=False` in a `reset_parameters()` method that the constructor calls too.
    Declare: with `supports=`, if you rely on it.
    """
    try:
        with torch.device("meta"):
            made = subject.fresh(subject.seed)
    except Skip:
        raise
    except Exception as error:
        raise raised(error, "made on the meta device, the model raised") from error
    real = [path for path, tensor in (*named_state(made), *unregistered_tensors(made)) if not tensor.is_meta]
    hidden = [path for path, tensor in unregistered_tensors(made) if tensor.is_meta]
    if hidden:
        raise Failure("to_empty() does not reach what is not registered", where=quoted(hidden))
    made.to_empty(device="cpu")
    unsaved = non_persistent(made)
    with torch.no_grad():
        for _, tensor in named_state(made):
            _spoil(tensor)
        for path, module in named_modules(made):
            reset = module.reset_parameters if hasattr(type(module), "reset_parameters") else None
            if callable(reset) and any(name.rpartition(".")[0] == path for name in unsaved):
                reset()
    try:
        made.load_state_dict(subject.model.state_dict())
        found = worst(subject.outputs(subject.batch(), model=made), subject.reference)
    except Exception as error:
        text = error.what if isinstance(error, Failure) else short(error)
        raise Failure(f"made on the meta device, then loaded: {text}", cause=_lost(unsaved)) from error
    if found is not None:
        what = "made on the meta device, then loaded, it gives another output"
        raise Failure(what, where=found.where, cause=_lost(unsaved))
    cut = ties(subject.model) - ties(made)
    notes = [f"not made on the meta device: {quoted(real)}"] if real else []
    return "; ".join([*notes, *([f"to_empty() cuts ties: {spelled(cut)}"] if cut else [])]) or None


def _spoil(tensor: Tensor) -> None:
    """Fill a tensor with values that make any use of it visible."""
    if tensor.is_floating_point() or tensor.is_complex():
        tensor.fill_(float("nan"))
    elif tensor.dtype != torch.bool:
        tensor.fill_(torch.iinfo(tensor.dtype).max)


def _lost(unsaved: list[str]) -> str:
    return f"{quoted(unsaved)}: a buffer that is not saved, and nothing fills it again" if unsaved else ""
