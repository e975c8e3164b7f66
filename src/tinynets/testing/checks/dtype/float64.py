from __future__ import annotations

import torch

from ....inputs.make_inputs import float_dtype
from ... import Level, Subject, check
from ...call_helpers import uses_rng
from ...measure.compare import worst
from ...measure.dtype_conversion import outputs_as


@check("dtype.float64", Level.MUST)
def float64(subject: Subject, *, tolerance: float = 1e-4) -> str | None:
    """`model.double()` runs on float64 inputs and returns float64 outputs that match the float32 ones.

    Why: gradient checks and comparisons of implementations use float64, and a single float32 operation inside
    a model reduces its float64 outputs to float32 precision. Code that breaks here also breaks for bfloat16.
    Fix: instead of `.float()` and `dtype=torch.float32` in forward, use the dtype of an existing tensor:
    `torch.zeros(n, dtype=x.dtype, device=x.device)`, `mask.to(x.dtype)`.
    Declare: an exemption that names the operation without float64 support.
    """
    source = float_dtype(subject.model)
    found = worst(outputs_as(subject, torch.float64), subject.reference)
    if source == torch.float32 and found is not None and found.error > tolerance:
        subject.restore()
        if uses_rng(subject):
            return "it draws random numbers in eval mode, so values are not compared"
        raise found.failure("float64 gives other values than float32", tolerance)
    return None
