from __future__ import annotations

import torch

from ....inputs.make_inputs import float_dtype
from ... import Failure, Level, Skip, Subject, check
from ...call_helpers import named_state, quoted
from ...measure.dtype_conversion import converted_dtype, name_of, outputs_as


@check("dtype.default", Level.SHOULD)
def default(subject: Subject) -> str | None:
    """A model built under `torch.set_default_dtype(torch.float64)` has float64 parameters, and runs.

    A buffer may be float32 on purpose, as the tables of rotary embeddings are, so it is only reported.

    Why: this is how a whole program switches to another precision.
    Fix: do not pass `dtype=torch.float32` in the constructor where you mean the default dtype.
    Declare: an exemption, if a parameter is float32 on purpose.
    """
    source = torch.get_default_dtype()
    if source == torch.float64 or float_dtype(subject.model) != source:
        raise Skip(f"the model is {name_of(float_dtype(subject.model))}, whatever the default dtype is")
    before = {name: tensor.dtype for name, tensor in named_state(subject.model)}
    torch.set_default_dtype(torch.float64)
    try:
        made = subject.fresh(subject.seed)
        other = [
            name
            for name, tensor in named_state(made)
            if name in before and tensor.dtype != converted_dtype(before[name], source, torch.float64)
        ]
        parameters = {name for name, _ in made.named_parameters()}
        if wrong := [name for name in other if name in parameters]:
            raise Failure("not every parameter is made in the default dtype", where=quoted(wrong))
        outputs_as(subject, torch.float64, made)
        return f"{quoted(other)}: {name_of(source)}, whatever the default dtype is" if other else None
    finally:
        torch.set_default_dtype(source)
