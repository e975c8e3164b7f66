from __future__ import annotations

import re

from torch import Tensor

from ... import Failure, Level, Skip, Subject, check
from ...locate.mixing import shrunken_module
from ...measure.compare import leaves


@check("batch.sizes", Level.MUST, variants=(1, 3), valueless=True)
def sizes(subject: Subject, size: int) -> str | None:
    """The model accepts batches of one and of three samples, and returns outputs of matching size.

    Why: the last batch of an epoch is smaller, and a served model sees single samples. Typical bugs are a
    batch size hard-coded in a reshape, and `squeeze()` without an axis, which drops a batch axis of size 1.
    Fix: take the batch size from the input, or use `-1`; pass an axis to `squeeze`.
    Declare: an exemption, if the batch size is part of the model.
    """
    usual = subject.default_size
    arguments = subject.batch(size)
    try:
        found = leaves(subject.run(arguments))
    except Failure as failure:
        raise Failure(
            f"the model takes {usual} samples and not {size}: {failure.what}",
            where=failure.where,
            cause=_constant(subject, failure.what, usual),
            error=failure.error,
        ) from failure.error
    try:
        axes = subject.output_axes
    except Skip:  # no other size runs
        axes = None
    for now, before, axis in zip(found, subject.reference, axes or [None] * len(found), strict=False):
        if not _follows(now.tensor, before.tensor, axis, size, usual):
            raise Failure(
                "the shape of the output does not follow the batch size",
                where=now.name,
                size=f"{list(now.tensor.shape)} for {size}, {list(before.tensor.shape)} for {usual}",
                cause=shrunken_module(subject, arguments),
            )
    if axes is not None and all(axis is None for axis in axes):
        return "no output has an axis that counts samples"
    return None


def _follows(now: Tensor, before: Tensor, axis: int | None, size: int, usual: int) -> bool:
    """Return whether an output has the shape expected for `size` samples, given its shape for `usual`."""
    if now.ndim != before.ndim:
        return False
    if axis is not None:
        return now.shape[axis] == size
    changed = [(m, n) for m, n in zip(now.shape, before.shape, strict=True) if m != n]
    if any(m * usual != n * size for m, n in changed):
        return False
    # Samples may be merged with another axis, but then the first axis must not keep the size of the batch.
    return not (changed and now.shape[0] == before.shape[0] == usual)


def _constant(subject: Subject, message: str, usual: int) -> str:
    if not re.search(rf"\b{usual}\b", message):
        return ""
    try:
        subject.run(subject.batch(usual + 1))
    except Failure:
        pass
    else:
        return ""  # other sizes run: the number is the size of another axis
    return f"the error names {usual}, the batch size that works: it seems to be written into the model"
