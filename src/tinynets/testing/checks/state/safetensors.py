from __future__ import annotations

import tempfile
from pathlib import Path

from safetensors.torch import load_model, save_model  # pyright: ignore[reportUnknownVariableType]

from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import quoted
from ...measure.compare import same_bits
from ...measure.model_errors import as_failure, short
from ...measure.state_compare import spelled, ties
from ._shared import extra_state, train_and_perturb


@check("state.safetensors", Level.SHOULD)
def safetensors(subject: Subject) -> str | None:
    """After `safetensors.torch.save_model` and `load_model`, outputs are bit-identical and tied weights tied.

    Why: it is the format of model hubs: fast, and safe to open. It stores only tensors, and each memory once.
    Fix: tensors that share part of their memory cannot be stored: let one of them cover all of it, or share
    none. Keep extra state in buffers.
    Declare: an exemption.
    """
    try:
        other = subject.fresh(subject.seed + 1)
    except Skip:
        other = subject.pristine()
    train_and_perturb(subject)
    if not subject.model.state_dict():
        raise Skip("the model has no state")
    tied = ties(subject.model)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.safetensors"))
        try:
            save_model(subject.model, path)
        except Exception as error:
            cause = (
                f"these share memory: {spelled(tied)}" if tied else extra_state(subject.model.state_dict())
            )
            raise Failure(f"save_model raised {short(error)}", cause=cause, error=error) from error
        with as_failure("load_model raised", short):
            load_model(other, path)
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
