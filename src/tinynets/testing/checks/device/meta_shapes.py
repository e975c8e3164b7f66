from __future__ import annotations

import traceback

from ...._torch.state.model_walk import unregistered_tensors
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import quoted
from ...measure.compare import leaves


@check("device.meta_shapes", Level.SHOULD)
def meta_shapes(subject: Subject) -> None:
    """On the meta device, which computes only shapes, the model returns its real shapes and dtypes.

    Why: tools that estimate memory, plan distributed training or draw a model run it there, without
    allocating memory.
    Fix: avoid `.item()`, `.tolist()`, `if tensor:` and boolean indexing in forward; create tensors on the
    device of an input.
    Declare: an exemption.
    """
    subject.model.to("meta")
    try:
        found = leaves(subject.run(subject.batch().map(lambda tensor: tensor.to("meta"))))
    except Failure as failure:
        if _has_no_autocast(failure):
            raise Skip("the model uses torch.autocast, which the meta device has not") from None
        behind = [path for path, tensor in unregistered_tensors(subject.model) if not tensor.is_meta]
        failure.what = f"on the meta device, {failure.what}"
        failure.cause = f"{quoted(behind)}: .to() does not move it" if behind else failure.cause
        raise
    ours = [(leaf.name, list(leaf.tensor.shape), leaf.tensor.dtype) for leaf in found]
    theirs = [(leaf.name, list(leaf.tensor.shape), leaf.tensor.dtype) for leaf in subject.reference]
    if ours != theirs:
        different = [f"{a}, really {b}" for a, b in zip(ours, theirs, strict=False) if a != b]
        raise Failure("the meta device gives another shape or dtype", where="; ".join(different[:3]))
    real = [leaf.name for leaf in found if not leaf.tensor.is_meta]
    if real:
        raise Failure("an output is not on the meta device", where=quoted(real))


def _has_no_autocast(failure: Failure) -> bool:
    """Return whether torch raised because it has no autocast for the device."""
    where = failure.error.__traceback__ if failure.error else None
    frames = traceback.extract_tb(where)
    return any(f.filename.endswith("autocast_mode.py") and f.name == "__init__" for f in frames)
