"""Whether the state of the model can be seen, saved, loaded and copied."""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

from ..._torch.reachable import Reachable
from ..._torch.unregistered import unregistered
from ...errors import Failure, Skip
from ..definition import Level, check
from ..measure.compare import same_bits, worst
from ..measure.state_compare import (
    closures,
    find_failing_attribute,
    perturb,
    short,
    spelled,
    state_difference_cause,
    storage,
    tensors_of,
    ties,
)
from ..subject import Subject
from ..wording import quoted


@check("state.registered", Level.MUST, static=True)
def registered(subject: Subject) -> None:
    """Every tensor and module that the model holds is registered.

    Looked for in attributes and the class body: in containers, plain objects, partials, bound methods and
    closures up to six deep.

    Why: `.to()`, `.parameters()`, `state_dict()` and `.train()` see only what is registered. An optimizer
    does not train the rest, a GPU does not get it, a checkpoint does not hold it.
    Fix: lists of modules become `nn.ModuleList`, dicts `nn.ModuleDict`; a tensor that is trained becomes an
    `nn.Parameter`; one that is not, `self.register_buffer(name, tensor)`, with `persistent=False` if the
    constructor can make it again.
    Declare: a module that is hidden on purpose (a frozen teacher) is an exemption.
    """
    found = unregistered(subject.model)
    if found:
        kinds = sorted({_kind(item) for item in found})
        raise Failure(
            f"the model holds {' and '.join(kinds)} that are not registered",
            where=quoted([item.path for item in found]),
            cause=_unregistered(found[0], subject.model),
        )


def _kind(item: Reachable) -> str:
    if isinstance(item.value, nn.Module):
        return "modules"
    return "parameters" if isinstance(item.value, nn.Parameter) else "tensors"


def _unregistered(item: Reachable, model: nn.Module) -> str:
    name = f"`{type(item.owner).__name__}.{item.attribute}`"
    if item.of_class:
        return f"{name} is made in the class body, once for all instances: make it in __init__"
    holder: Any = getattr(item.owner, item.attribute)
    made = type(holder).__name__
    kind = "Dict" if isinstance(holder, dict) else "List"
    if isinstance(item.value, nn.Module):
        return f"{name} is a {made}: use nn.Module{kind}"
    if isinstance(item.value, nn.Parameter):
        return f"{name} is a {made}: use nn.Parameter{kind}"
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        if storage(tensor) == storage(item.value):
            return f"it shares the memory of `{path}` until that is moved: compute it in forward"
    return f'{name} holds a plain tensor: self.register_buffer("{item.attribute}", ..., persistent=False)'


@check("state.roundtrip", Level.MUST)
def roundtrip(subject: Subject) -> str | None:
    """What `state_dict()` saves makes another instance, drawn from another seed, give the same bits.

    Saved by `torch.save`, read with `torch.load(weights_only=True)`, loaded with `strict=True`. Before, the
    model is run once in training mode and its weights are changed, as if it had been trained.

    Why: a checkpoint that loads without a complaint and gives other numbers is found out in production.
    Fix: register the tensor that the message names, drop its `persistent=False`, or compute it from the
    arguments of the constructor alone.
    Declare: an exemption, where something is kept elsewhere on purpose.
    """
    other = subject.fresh(subject.seed + 1)
    batch = subject.batch()
    _as_if_trained(subject)
    ours = subject.outputs(batch)
    state = subject.model.state_dict()  # an OrderedDict with _metadata, the versions of the modules
    file = io.BytesIO()
    try:
        torch.save(state, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=True)
    except Exception as error:
        raise Failure(
            f"the state dict cannot be saved and read with weights_only=True: {short(error)}",
            cause=_extra_state(state),
            error=error,
        ) from error
    before = {name: _copied(value) for name, value in other.state_dict().items()}
    try:
        other.load_state_dict(loaded, strict=True)
    except Exception as error:
        late = [name for name in state if name not in before]
        raise Failure(
            f"a new instance does not take the state dict: {short(error)}",
            cause=f"{quoted(late)} appear after the first call only: make them in __init__" if late else "",
            error=error,
        ) from error
    try:
        theirs = subject.outputs(batch, model=other)
    except Failure as failure:
        failure.what = f"after loading, {failure.what}"
        raise
    found = worst(theirs, ours)
    if found is not None:
        raise Failure(
            "a new instance with the same state dict gives another output",
            where=found.where,
            size=f"{found.error:.1e} of the largest value (limit 0)",
            cause=state_difference_cause(subject.model, other),
        )
    if not state:
        raise Skip("the model has no state")
    if worst(ours, subject.reference) is None:
        return "changing every weight changed no output, so this says little"
    return None


@check("state.safetensors", Level.SHOULD)
def safetensors(subject: Subject) -> str | None:
    """`safetensors.torch.save_model` saves the model and `load_model` reads it: same bits, tied weights tied.

    Why: it is the format of model hubs: fast, and safe to open. It stores each memory once, and only tensors.
    Fix: tensors that share memory in part cannot be stored: let one of them be the whole, or none share.
    Keep extra state in buffers.
    Declare: an exemption.
    """
    try:
        other = subject.fresh(subject.seed + 1)
    except Skip:
        other = subject.pristine()
    _as_if_trained(subject)
    if not subject.model.state_dict():
        raise Skip("the model has no state")
    tied = ties(subject.model)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.safetensors"))
        try:
            save_model(subject.model, path)
        except Exception as error:
            cause = (
                f"these share memory: {spelled(tied)}" if tied else _extra_state(subject.model.state_dict())
            )
            raise Failure(f"save_model raised {short(error)}", cause=cause, error=error) from error
        try:
            load_model(other, path)
        except Exception as error:
            raise Failure(f"load_model raised {short(error)}", error=error) from error
    if tied != (now := ties(other)):
        lost = tied - now
        raise Failure(
            f"weights that were tied are not after loading: {spelled(lost)}"
            if lost
            else f"weights are tied after loading that were not: {spelled(now - tied)}",
            cause="a load hook replaces the parameter: copy into it instead",
        )
    ours, theirs = subject.model.state_dict(), other.state_dict()
    changed = [name for name in ours if name not in theirs or not same_bits(theirs[name], ours[name])]
    if changed:
        raise Failure("not everything came back from the file", where=quoted(changed))
    return (
        f"tied: {spelled(tied)}; save_file of the state dict refuses that, save_model does not"
        if tied
        else None
    )


@check("state.pickle", Level.CAPABILITY)
def pickled(subject: Subject) -> str | None:
    """The whole model can be pickled, and comes back with the same bits.

    Why: `torch.save(model)`, and data loaders and launchers that start processes by spawn, pickle it.
    Fix: no lambda and no local class among the attributes: name the function at the top of its module.
    Declare: by `supports=` where you count on it. Parametrizations cannot be pickled.
    """
    perturb(subject.model)
    try:
        other: nn.Module = pickle.loads(pickle.dumps(subject.model))
    except Exception as error:
        where = find_failing_attribute(subject.model, pickle.dumps)
        raise Failure(f"pickle raised {short(error)}", where=where, error=error) from error
    batch = subject.batch()
    found = worst(subject.outputs(batch, model=other), subject.outputs(batch))
    if found is not None:
        raise Failure(
            "the model that was pickled and read again gives another output",
            where=found.where,
            size=f"{found.error:.1e} of the largest value (limit 0)",
            cause=state_difference_cause(subject.model, other),
        )
    return None


@check("state.deepcopy", Level.MUST)
def deepcopied(subject: Subject) -> None:
    """A deep copy gives the same bits, shares no memory with the model, and keeps tied weights tied.

    Why: weight averaging, ensembles, early stopping and quantisation start from a copy. One that still
    looks at the original changes when the original is trained.
    Fix: no closure over `self` and no method of another instance among the attributes; a tensor that is
    computed from parameters belongs in `forward` (`torch.nn.utils.weight_norm` keeps one, so it cannot be
    copied: take `torch.nn.utils.parametrizations.weight_norm`).
    Declare: an exemption.
    """
    try:
        other = copy.deepcopy(subject.model)
    except Exception as error:
        where = find_failing_attribute(subject.model, copy.deepcopy)
        raise Failure(f"deepcopy raised {short(error)}", where=where, error=error) from error
    ours = {storage(tensor): path for path, tensor in tensors_of(subject.model)}
    shared = [path for path, tensor in tensors_of(other) if tensor.numel() and storage(tensor) in ours]
    if other is subject.model or shared:
        raise Failure("the copy shares memory with the original", where=quoted(shared))
    if ties(subject.model) != ties(other):
        difference = ties(subject.model) ^ ties(other)
        raise Failure(f"the copy does not tie the same weights: {spelled(difference)}")
    perturb(subject.model)
    batch = subject.batch()
    found = worst(subject.outputs(batch, model=other), subject.reference)
    if found is None:
        return
    subject.restore()
    follows = worst(subject.outputs(batch, model=other), subject.reference) is None
    raise Failure(
        "the copy changes when the original is changed" if follows else "the copy gives another output",
        where=found.where,
        size=f"{found.error:.1e} of the largest value (limit 0)",
        cause=closures(other) if follows else state_difference_cause(subject.model, other),
    )


@check("state.noncontiguous", Level.INFO, static=True)
def noncontiguous(subject: Subject) -> None:
    """Parameters and buffers lie in memory in the order of their axes.

    Why: a transposed or expanded parameter costs a copy in each call of some kernels, and `save_file` of
    safetensors refuses it.
    Fix: `.contiguous()` before `nn.Parameter(...)`.
    Declare: nothing to declare: it is reported, never a failure.
    """
    tensors = (*subject.model.named_parameters(), *subject.model.named_buffers())
    found = [name for name, tensor in tensors if not tensor.is_contiguous()]
    if found:
        raise Failure("not contiguous", where=quoted(found), size=f"{len(found)} of {len(tensors)} tensors")


def _as_if_trained(subject: Subject) -> None:
    try:
        subject.run(subject.batch(training=True), training=True)
    except Failure:
        subject.restore()  # contract.runs_train says so
    perturb(subject.model)


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _extra_state(state: dict[str, Any]) -> str:
    extra = {name: type(value).__name__ for name, value in state.items() if not isinstance(value, Tensor)}
    kinds = " or ".join(sorted(set(extra.values())))
    return f"{quoted([*extra])} holds {kinds} from get_extra_state: no tensor" if extra else ""
