from __future__ import annotations

import torch

from ... import Level, Subject, check
from ...measure.dtype_conversion import low_precision


@check("dtype.bfloat16", Level.SHOULD)
def bfloat16(subject: Subject) -> str:
    """`model.bfloat16()` runs on bfloat16 inputs, gives bfloat16, and nothing that is not finite.

    How far the values are from those of float32 is reported, not judged.

    Why: models are trained and served in it.
    Fix: as for `dtype.float64`.
    Declare: an exemption, with the operation that has no bfloat16.
    """
    return low_precision(subject, torch.bfloat16)
