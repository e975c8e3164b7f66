from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...._torch.state.model_walk import unregistered_tensors
from ...._torch.state.random_states import seed_everything
from ... import Level, Skip, Subject, check
from ...call_helpers import named_state, quoted
from ...measure.compare import FLOAT32_LIMIT, Difference, Leaf, detached, worst
from ...measure.model_errors import as_failure
from ...measure.state_compare import tied_by_data


@check("transforms.functional_call", Level.MUST)
def functional(subject: Subject) -> str | None:
    """`torch.func.functional_call` with other weights gives the same outputs as a model with these weights.

    Why: ensembles, meta-learning, per-sample gradients and influence functions swap weights this way.
    Fix: read `self.weight` in every forward; do not cache values computed from weights, or keep weights in
    lists or closures.
    Declare: an exemption.
    """
    others = _other_weights(subject.model)
    if not others:
        raise Skip("the model has no parameters")

    def measure() -> Difference | None:
        subject.model.eval()
        return worst(_called_with(subject, {}), subject.outputs(subject.batch()))

    what = "functional_call with the model's own weights gives another output"
    note = subject.assert_close(measure, what)
    found, changed = _compared(subject, others)
    if found is not None and found.error > FLOAT32_LIMIT:
        raise found.failure(
            "functional_call does not use all the weights that it is given",
            FLOAT32_LIMIT,
            cause=tied_by_data(subject.model) or _bypassed(subject, others),
        )
    return note if changed else "other weights give the same output, so this says little"


def _other_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return other values of the same magnitude for the parameters; zeros change too."""
    floats = [(n, p.detach()) for n, p in model.named_parameters() if p.is_floating_point() or p.is_complex()]
    return {name: t * (0.5 + torch.rand_like(t)) + 0.05 * torch.randn_like(t) for name, t in floats}


def _called_with(subject: Subject, replaced: dict[str, Tensor]) -> list[Leaf]:
    """Call the model through `functional_call`, with some of its weights replaced."""
    state = {name: tensor.detach().clone() for name, tensor in named_state(subject.model)} | replaced
    batch = subject.batch()
    seed_everything(subject.seed)
    with as_failure(), torch.no_grad():
        return detached(functional_call(subject.model, state, batch.args, batch.kwargs))


def _compared(subject: Subject, replaced: dict[str, Tensor]) -> tuple[Difference | None, bool]:
    """Return the difference between swapped and copied weights, and whether these change the outputs."""
    subject.model.eval()
    _called_with(subject, {})  # fills caches, if there are any
    swapped = _called_with(subject, replaced)
    subject.restore()  # drops what the calls left in attributes
    with torch.no_grad():
        for name, tensor in replaced.items():
            subject.model.get_parameter(name).copy_(tensor)
    expected = subject.outputs(subject.batch())
    subject.restore()
    return worst(swapped, expected), worst(expected, subject.reference) is not None


def _bypassed(subject: Subject, others: dict[str, Tensor]) -> str:
    """Name the parameters whose replacement goes unnoticed, and the tensors that may be used instead."""
    unused: list[str] = []
    held: list[str] = []
    deadline = time.monotonic() + 5
    for name in others:
        if time.monotonic() > deadline:
            break
        subject.run(subject.batch())
        held = [path for path, _ in unregistered_tensors(subject.model)]
        found, _ = _compared(subject, {name: others[name]})
        if found is not None and found.error > FLOAT32_LIMIT:
            unused.append(name)
    parts = [f"{quoted(unused)}: what is given for it is not used"] if unused else []
    return "; ".join(parts + ([f"the model also holds {quoted(held)}"] if held else []))
