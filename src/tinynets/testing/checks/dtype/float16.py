from __future__ import annotations

import torch

from ... import Level, Subject, check
from ...measure.dtype_conversion import low_precision


@check("dtype.float16", Level.CAPABILITY)
def float16(subject: Subject) -> str:
    """`model.half()` runs on float16 inputs and returns finite float16 outputs.

    The difference from the float32 outputs is only reported.

    Why: older GPUs and phones support float16 but not bfloat16. The largest float16 value is 65504.
    Fix: as for `dtype.float64`; where values overflow, normalise first, or compute that part in float32 and
    convert back.
    Declare: with `supports=`, if you rely on it.
    """
    return low_precision(subject, torch.float16)
