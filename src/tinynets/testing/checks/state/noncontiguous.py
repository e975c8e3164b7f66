from __future__ import annotations

from ... import Failure, Level, Subject, check
from ...call_helpers import named_state, quoted


@check("state.noncontiguous", Level.INFO, static=True)
def noncontiguous(subject: Subject) -> None:
    """Parameters and buffers are contiguous in memory.

    Why: a transposed or expanded parameter costs a copy in each call of some kernels, and `save_file` of
    safetensors refuses it.
    Fix: `.contiguous()` before `nn.Parameter(...)`.
    Declare: nothing: this is reported, never a failure.
    """
    tensors = named_state(subject.model)
    found = [name for name, tensor in tensors if not tensor.is_contiguous()]
    if found:
        raise Failure("not contiguous", where=quoted(found), size=f"{len(found)} of {len(tensors)} tensors")
