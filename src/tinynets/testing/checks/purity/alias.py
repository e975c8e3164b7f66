from __future__ import annotations

import torch
from torch import Tensor

from ...._torch.state.model_walk import reachable
from ... import Failure, Level, Subject, check
from ...call_helpers import listed
from ...measure.compare import leaves


@check("purity.alias", Level.SHOULD)
def alias(subject: Subject) -> None:
    """The outputs share no memory with arguments, parameters, buffers or attributes.

    Why: code that modifies the output in place, as `logits.sub_(...)` and many losses do, also modifies the
    shared tensor.
    Fix: `.clone()` tensors that are returned unchanged or as a view.
    Declare: an exemption; a module that only reshapes must share memory.
    """
    arguments = subject.batch()
    subject.model.eval()
    with torch.no_grad():
        output = leaves(subject.call(arguments))
    own = [(item.path, item.value) for item in reachable(subject.model) if isinstance(item.value, Tensor)]
    others = [*zip(arguments.names, arguments.tensors, strict=True), *own]
    memory = {where: name for name, tensor in reversed(others) if (where := _memory(tensor))}
    outputs = {id(leaf.tensor) for leaf in output}
    kept = [path for path, tensor in own if id(tensor) in outputs]
    pairs = [
        f"{leaf.name} and {memory[where]}"
        for leaf in output
        if (where := _memory(leaf.tensor)) is not None and where in memory
    ]
    if pairs:
        cause = f"the model keeps what it returns: {listed(kept)}" if kept else "a view, or returned as it is"
        raise Failure("an output shares its memory", where=listed(pairs), cause=cause)


def _memory(tensor: Tensor) -> int | None:
    """Return where the memory of a tensor starts; None for a tensor without memory."""
    if tensor.layout is not torch.strided or tensor.is_meta or not tensor.numel():
        return None
    return tensor.untyped_storage().data_ptr()
