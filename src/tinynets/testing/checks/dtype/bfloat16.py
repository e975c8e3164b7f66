from __future__ import annotations

import torch

from ... import Level, Subject, check
from ...measure.dtype_conversion import low_precision


@check("dtype.bfloat16", Level.SHOULD)
def bfloat16(subject: Subject) -> str:
    """`model.bfloat16()` runs on bfloat16 inputs and returns finite bfloat16 outputs.

    The difference from the float32 outputs is only reported.

    Why: models are trained and served in it.
    Fix: as for `dtype.float64`.
    Declare: an exemption that names the operation without bfloat16 support.
    """
    return low_precision(subject, torch.bfloat16)
