from __future__ import annotations

import torch

from ... import Level, Subject, check
from ...measure.dtype_conversion import low_precision


@check("dtype.float16", Level.CAPABILITY)
def float16(subject: Subject) -> str:
    """`model.half()` runs on float16 inputs, gives float16, and nothing that is not finite.

    How far the values are from those of float32 is reported, not judged.

    Why: older GPUs and phones have float16 and no bfloat16. Its largest value is 65504.
    Fix: as for `dtype.float64`; where values overflow, normalise before, or compute that part in float32 and
    convert back.
    Declare: by `supports=` where you count on it.
    """
    return low_precision(subject, torch.float16)
