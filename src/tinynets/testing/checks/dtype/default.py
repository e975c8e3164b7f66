"""The check `dtype.default`."""

from __future__ import annotations

import torch

from ....errors import Failure, Skip
from ....inputs.examples import float_dtype
from ...call_helpers import named_state
from ...definition import Level, check
from ...measure.dtype_conversion import name_of, outputs_as
from ...subject import Subject
from ...wording import quoted


@check("dtype.default", Level.SHOULD)
def default(subject: Subject) -> None:
    """A model that is made under `torch.set_default_dtype(torch.float64)` is float64 throughout, and runs.

    Why: it is how a whole program is switched to another precision.
    Fix: no `dtype=torch.float32` in the constructor where the default is meant.
    Declare: an exemption, where a table is in float32 on purpose.
    """
    source = torch.get_default_dtype()
    if source == torch.float64 or float_dtype(subject.model) != source:
        raise Skip(f"the model is {name_of(float_dtype(subject.model))}, whatever the default dtype is")
    expected = {name for name, tensor in named_state(subject.model) if tensor.dtype == source}
    torch.set_default_dtype(torch.float64)
    try:
        made = subject.fresh(subject.seed)
        other = [
            name for name, tensor in named_state(made) if name in expected and tensor.dtype != torch.float64
        ]
        if other:
            raise Failure("not everything is made in the default dtype", where=quoted(other))
        outputs_as(subject, torch.float64, made)
    finally:
        torch.set_default_dtype(source)
