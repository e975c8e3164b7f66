from __future__ import annotations

import torch

from ... import Level, Subject, check
from ...measure.compare import FLOAT32_LIMIT, worst
from ._shared import fresh_compiler, traced_outputs


@check("transforms.compile", Level.SHOULD, slow=True)
def compiled(subject: Subject) -> None:
    """`torch.compile(model, fullgraph=True)` traces the model as one graph that gives the same outputs.

    The check uses the backend `"eager"`, which runs the graph unchanged, so any difference comes from
    tracing.

    Why: every graph break costs speed, and exporters and servers need a single graph.
    Fix: the message has the line; avoid `.item()`, `print`, branches on values and calls into numpy in
    forward.
    Declare: an exemption, with the reason for the graph break. torch does not trace its recurrent layers.
    """
    with fresh_compiler():
        model = torch.compile(subject.model, backend="eager", fullgraph=True)  # pyright: ignore[reportUnknownMemberType]
        found = worst(traced_outputs(subject, model, subject.batch()), subject.reference)
    if found is not None and found.error > FLOAT32_LIMIT:
        raise found.failure("the compiled model gives another output", FLOAT32_LIMIT)
