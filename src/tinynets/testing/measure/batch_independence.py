"""Whether samples of a batch affect each other: their outputs in two calls (after a training step, if all are
equal), and the gradients between samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..._torch.state.random_states import seed_everything
from ...errors import Failure, Skip
from ...inputs.arguments import Arguments
from ..call_helpers import uses_rng
from ..locate.mixing import mixing_module
from ..subject import Subject
from .compare import Difference, Leaf, leaves, same_bits, worst
from .training import differentiable, input_gradients, take_step


@dataclass(frozen=True)
class Samples:
    """Samples of `subject.batch()` in another call.

    Args:
        name: what messages call the samples.
        make: draws the arguments of the other call.
        pick: which samples of the batch.
        match: their positions in the other call.
    """

    name: str
    make: Callable[[], Arguments]
    pick: list[int]
    match: list[int]


def first_last(subject: Subject) -> tuple[int, int]:
    """Return the first and the last index of a batch.

    Raises:
        Skip: there are not two samples.
    """
    size = subject.batch().size
    if size is None:
        raise Skip("the inputs have no batch axis: name one by batch_axes=")
    if size < 2:
        raise Skip("the model takes one sample at a time")
    return 0, size - 1


def compare_samples(
    subject: Subject, cases: list[Samples], what: str, tolerance: float = 0.0, *, same_draws: bool = True
) -> str | None:
    """Check that samples give the same outputs in other calls, in eval mode.

    Args:
        subject: what to run.
        cases: the other calls.
        what: the failure message, with a placeholder for the name of the samples.
        tolerance: the largest relative error that counts as rounding.
        same_draws: whether a model that draws random numbers in eval mode draws the same ones for a sample in
            both calls.

    Raises:
        Failure: the outputs differ.
        Skip: the outputs would not show a difference.
    """
    reference, stepped = _telling_outputs(subject)
    waiting = [reference]
    guilty = cases[0]

    def outputs(arguments: Arguments, *, anew: bool) -> list[Leaf]:
        if anew and subject.stateful and not stepped:
            subject.restore()  # each call starts from the same state
        return subject.outputs(arguments)

    def measure() -> Difference | None:
        nonlocal guilty
        first = bool(waiting)
        batch = waiting.pop() if first else outputs(subject.batch(), anew=False)
        found: Difference | None = None
        for case in cases:
            now = _difference(subject, outputs(case.make(), anew=first), batch, case)
            if now is not None and (found is None or now.error > found.error):
                found, guilty = now, case
        return found

    def objection(found: Difference) -> Failure:
        if not same_draws and uses_rng(subject):
            raise Skip("the model draws random numbers in eval mode: samples cannot be compared")
        cause = mixing_module(subject, subject.batch(), guilty.make(), guilty.pick, guilty.match)
        return Failure(what.format(guilty.name), where=found.where, cause=cause)

    return subject.assert_close(measure, objection, tolerance=tolerance)


def leak_matrix(subject: Subject, size: int) -> Tensor:
    """Return the largest gradient of the output for sample i with respect to sample j, as a matrix.

    Raises:
        Skip: inputs or outputs are of types that have no gradient.
    """
    batch = subject.batch(size)
    usable = [
        axis is not None and differentiable(t) for t, axis in zip(batch.tensors, batch.axes, strict=True)
    ]
    if not any(usable):
        raise Skip("the inputs are integers: they have no gradient")
    tensors = [t.detach().requires_grad_(use) for t, use in zip(batch.tensors, usable, strict=True)]
    inputs = [
        (t, axis)
        for t, axis, use in zip(tensors, batch.axes, usable, strict=True)
        if use and axis is not None
    ]
    subject.model.eval()
    seed_everything(subject.seed)
    # Clones, since a model may modify its inputs in place, which autograd does not allow for leaves.
    with torch.enable_grad():
        output = leaves(
            subject.call(batch.with_tensors([t.clone() if t.requires_grad else t for t in tensors]))
        )
    pairs = [(leaf.tensor, axis) for leaf, axis in subject.batched(output) if leaf.tensor.requires_grad]
    if not pairs:
        raise Skip("no output carries a gradient: a detach, a no_grad, or integers are on the way")
    weights = [torch.randn_like(tensor) for tensor, _ in pairs]
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for i in range(size):
        cotangents = [
            torch.zeros_like(weight).index_copy_(axis, index, weight.index_select(axis, index))
            for weight, (_, axis) in zip(weights, pairs, strict=True)
            for index in [torch.tensor([i], device=weight.device)]
        ]
        gradients = input_gradients(
            [t for t, _ in pairs], [t for t, _ in inputs], cotangents, keep=i + 1 < size
        )
        for found, (_, axis) in zip(gradients, inputs, strict=True):
            if found is not None and found.numel():
                sizes = found.abs().nan_to_num(0.0)  # gradients.finite reports NaN
                peaks = sizes.movedim(axis, 0).reshape(size, -1).amax(1)
                matrix[i] = torch.maximum(matrix[i], peaks.double().cpu())
    return matrix


def _telling_outputs(subject: Subject) -> tuple[list[Leaf], bool]:
    """Return outputs that differ between samples, since equal ones would hide a leak.

    If they are equal, as for a head that starts at zero, the model takes a training step first, and the
    second value is True.

    Raises:
        Skip: the outputs are still equal.
    """
    found = subject.reference
    if subject.stateful:
        subject.restore()
        found = subject.outputs(subject.batch())
    stepped = _alike(subject, found) and take_step(subject)
    if stepped:
        found = subject.outputs(subject.batch())
    if _alike(subject, found):
        raise Skip("every sample gives the same output: a leak between them would not show")
    return found, stepped


def _alike(subject: Subject, outputs: list[Leaf]) -> bool:
    _, last = first_last(subject)
    pairs = zip(
        subject.rows(outputs, [*range(last)]), subject.rows(outputs, [*range(1, last + 1)]), strict=True
    )
    return all(same_bits(a.tensor, b.tensor) for a, b in pairs)


def _difference(subject: Subject, outputs: list[Leaf], batch: list[Leaf], case: Samples) -> Difference | None:
    """Compare the samples of a case; fill in the others, so that indices stay right."""
    if len(outputs) != len(batch):
        return worst(outputs, batch)
    ours: list[Leaf] = []
    expected: list[Leaf] = []
    pairs = zip(subject.batched(outputs), subject.batched(batch), strict=True)
    for (leaf, axis), (reference, _) in pairs:
        match = torch.tensor(case.match, device=leaf.tensor.device)
        samples = reference.tensor.index_select(axis, torch.tensor(case.pick, device=match.device))
        target = leaf.tensor.index_select(axis, match)
        ours.append(leaf)
        if target.shape == samples.shape and target.dtype == samples.dtype:
            samples = leaf.tensor.index_copy(axis, match, samples)
        expected.append(Leaf(leaf.path, samples))
    return worst(ours, expected)
