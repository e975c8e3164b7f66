from __future__ import annotations

import torch

from ....inputs.examples import float_dtype
from ... import Level, Subject, check
from ...call_helpers import uses_rng
from ...measure.compare import worst
from ...measure.dtype_conversion import outputs_as


@check("dtype.float64", Level.MUST)
def float64(subject: Subject, *, tolerance: float = 1e-4) -> str | None:
    """`model.double()` runs on float64 inputs, gives float64, and the values that float32 gives.

    Why: gradient checks and comparisons of implementations are done in float64, and a model with one float32
    in its middle is not float64 but looks like it. What breaks here breaks for bfloat16 as well.
    Fix: no `.float()` and no `dtype=torch.float32` in forward: take the dtype of a tensor that is there,
    `torch.zeros(n, dtype=x.dtype, device=x.device)`, `mask.to(x.dtype)`.
    Declare: an exemption, with the operation that has no float64.
    """
    source = float_dtype(subject.model)
    found = worst(outputs_as(subject, torch.float64), subject.reference)
    if source == torch.float32 and found is not None and found.error > tolerance:
        subject.restore()
        if uses_rng(subject):
            return "it draws random numbers in eval mode, so values are not compared"
        raise found.failure("float64 gives other values than float32", tolerance)
    return None
