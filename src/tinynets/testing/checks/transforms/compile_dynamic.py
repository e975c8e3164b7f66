from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from ...._torch.tracing.compiler import refuse_recompiling
from ... import Failure, Level, Skip, Subject, check
from ...measure.compare import FLOAT32_LIMIT, worst
from ._shared import fresh_compiler, traced_outputs

SIZES = (4, 3, 5, 7)
"""Batch sizes for a model that is compiled once."""


@check("transforms.compile_dynamic", Level.SHOULD, slow=True)
def compile_dynamic(subject: Subject) -> str:
    """Batches of 4, 3, 5 and 7 samples need at most two graphs: one for the first, one for all others.

    Why: a model that recompiles for every batch size or sequence length spends its time compiling, until
    torch gives up and runs it eagerly.
    Fix: the message has the guard; do not store a Python number that changes with the batch in an attribute.
    Declare: an exemption.
    """
    _ = subject.output_axes  # skips models that take only one batch size
    graphs: list[GraphModule] = []

    def backend(graph: GraphModule, example: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    with fresh_compiler():
        model = torch.compile(subject.model, backend=backend, fullgraph=True)  # pyright: ignore[reportUnknownMemberType]
        for size in SIZES:
            batch = subject.batch(size)
            expected = subject.outputs(batch)
            with refuse_recompiling(len(graphs) >= 2):
                try:
                    found = worst(traced_outputs(subject, model, batch), expected)
                except Failure as failure:
                    reason = _guards(failure.error)
                    if not reason:
                        raise Skip(f"not one graph, see transforms.compile: {failure.what}") from None
                    what = f"a batch of {size} needs a third graph"
                    raise Failure(what, where=reason, error=failure.error) from None
            if found is not None and found.error > FLOAT32_LIMIT:
                what = f"the compiled model gives another output for a batch of {size}"
                raise found.failure(what, FLOAT32_LIMIT)
    return f"{len(graphs)} graphs for batches of {', '.join(map(str, SIZES))}"


def _guards(error: BaseException | None) -> str:
    """Return the guards that failed, as the compiler lists them when it must not recompile."""
    if type(error).__name__ != "RecompileError":  # defined in a private module of torch
        return ""
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines()]
    guards = [line.partition(" (HINT")[0] for line in lines if line[:1].isdigit()]
    return "; ".join(" ".join(guard.split()) for guard in guards)
