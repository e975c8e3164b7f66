"""The check `dtype.bfloat16`."""

from __future__ import annotations

import torch

from ...definition import Level, check
from ...subject import Subject
from ._shared import low_precision


@check("dtype.bfloat16", Level.SHOULD)
def bfloat16(subject: Subject) -> str:
    """`model.bfloat16()` runs on bfloat16 inputs and returns finite bfloat16 outputs.

    The difference from the float32 outputs is only reported.

    Why: models are trained and served in it.
    Fix: as for `dtype.float64`.
    Declare: an exemption that names the operation without bfloat16 support.
    """
    return low_precision(subject, torch.bfloat16)
