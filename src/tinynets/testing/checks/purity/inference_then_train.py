from __future__ import annotations

import torch
from torch import Tensor

from ...._torch.state.model_walk import reachable
from ... import Failure, Level, Subject, check
from ...call_helpers import listed
from ...measure.compare import objective
from ...measure.model_errors import as_skip, raised


@check("purity.inference_then_train", Level.MUST)
def inference_then_train(subject: Subject) -> None:
    """Training works after a call under `torch.inference_mode`.

    Why: if the first call is an evaluation, a table that it computes and caches is an inference tensor for
    good, and the first training step fails, far from the cause.
    Fix: compute tables in `__init__`, or under `torch.inference_mode(False)`; do not cache tensors.
    Declare: an exemption with the reason.
    """
    model, arguments = subject.model, subject.batch(training=True)

    def train() -> None:
        model.train()
        with torch.enable_grad():
            total = objective(subject.call(arguments.clone()))
            if total is not None and total.requires_grad:
                try:
                    total.backward()  # pyright: ignore[reportUnknownMemberType]
                except RuntimeError as error:
                    raise raised(error) from error

    model.eval()
    with torch.inference_mode():
        subject.call(subject.batch())
    kept = [
        item.path for item in reachable(model) if isinstance(item.value, Tensor) and item.value.is_inference()
    ]
    try:
        train()
    except Failure as failure:
        subject.restore()
        with as_skip("a training step fails without it too: {}"):
            train()
        raise Failure(
            f"after a call under inference_mode, {failure.what}",
            where=failure.where,
            cause=f"kept from that call: {listed(kept)}" if kept else "",
            error=failure.error,
        ) from None
