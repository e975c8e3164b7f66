"""Run the model in low precision."""

from __future__ import annotations

import torch

from ....errors import Failure
from ...measure.compare import worst
from ...measure.dtype_conversion import name_of, outputs_as
from ...subject import Subject


def low_precision(subject: Subject, dtype: torch.dtype) -> str:
    """Run the model in a dtype and return how far its outputs are off, for a note.

    Raises:
        Failure: the model raised, or returned non-finite values.
    """
    found = outputs_as(subject, dtype)
    for leaf, ours in zip(found, subject.reference, strict=True):
        bad = int((~leaf.tensor.isfinite() & ours.tensor.isfinite()).sum())
        if bad:
            raise Failure(
                f"the output is not finite in {name_of(dtype)}",
                where=leaf.name,
                size=f"{bad} of {leaf.tensor.numel()} values",
            )
    error = worst(found, subject.reference)
    return f"error {error.error:.0e} of the largest value" if error is not None else "no error"
