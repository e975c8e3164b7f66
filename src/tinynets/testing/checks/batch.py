"""Whether samples of a batch keep to themselves, and which batch sizes there may be."""

from __future__ import annotations

import re

import torch
from torch import Size, Tensor, nn

from ..._torch.hooks import forward_hooks
from ..._torch.layers import BatchOrInstanceNorm
from ..._torch.module_tables import named_modules
from ...errors import Failure, Skip
from ...inputs.draw import Arguments
from ..definition import Level, check
from ..locate.mixing import mixing_module, shrunken_module
from ..measure.batch_independence import Samples, compare_samples, ends, leak_matrix, stir
from ..measure.compare import FLOAT32_LIMIT, leaves
from ..measure.training import backward, differentiable
from ..subject import Subject


@check("batch.neighbour", Level.MUST)
def neighbour(subject: Subject) -> str | None:
    """In eval mode, the output for a sample does not depend on the other samples of its batch.

    The first sample is kept, then the last one, and all others are replaced: not a bit may change. Both ends
    matter, since a sum along the batch does not reach the first sample.

    Why: else a prediction depends on who else is asking, and results cannot be reproduced. Typical are
    normalisation by the statistics of the batch, a softmax, mean or sum over axis 0, attention over the batch
    because of `batch_first=False`, and a reshape that merges samples.
    Fix: the message names the module whose input is the same and whose output is not.
    Declare: a model that compares samples (contrastive heads, retrieval): an exemption.
    """

    def case(kept: int) -> Samples:
        def make() -> Arguments:
            return subject.batch().keeping(kept, subject.batch(seed=1))

        return Samples(f"sample {kept}", make, [kept], [kept])

    what = "the output for {} changes with the other samples of its batch, in eval mode"
    return compare_samples(subject, [case(kept) for kept in ends(subject)], what)


@check("batch.permute", Level.MUST)
def permute(subject: Subject) -> str | None:
    """In eval mode, a batch in another order gives the same outputs in that order.

    Why: it catches what replacing samples does not: outputs that depend on the place in the batch, such as a
    bias per row, or on a choice among all samples that happens to fall on the same one.
    Fix: the message names the module whose input is the same and whose output is not.
    Declare: a model whose batch has an order (frames of one video): an exemption, or name another batch axis
    by `batch_axes=`.
    """
    size = ends(subject)[-1] + 1
    order = [*range(1, size, 2), *range(0, size, 2)]  # no rotation, which a `roll` would survive
    cases = [Samples("a sample", lambda: subject.batch().rows(order), order, list(range(size)))]
    what = "the output for {} changes with the order of the batch, in eval mode"
    return compare_samples(subject, cases, what, same_draws=False)


@check("batch.subset", Level.MUST)
def subset(subject: Subject, *, tolerance: float = FLOAT32_LIMIT) -> str | None:
    """In eval mode, a sample gives the same output alone as in a batch, but for rounding.

    What exceeds the tolerance is computed again in float64: rounding is no objection.

    Why: models are evaluated in batches and served one by one.
    Fix: statistics, capacities and thresholds must not come from the batch; the message names the module.
    Declare: a quantised model takes its scales from the batch: allow it a larger `tolerance` by `params=`.
    """

    def case(index: int) -> Samples:
        return Samples(f"sample {index}", lambda: subject.batch().rows([index]), [index], [0])

    cases = [case(index) for index in ends(subject)]
    try:
        alone = subject.batched(subject.outputs(cases[0].make()))
    except Failure:
        raise Skip("the model does not take one sample: see batch.sizes[1]") from None
    in_batch = subject.batched(subject.reference)
    if any(
        a.tensor.shape != b.tensor.narrow(axis, 0, 1).shape
        for (a, _), (b, axis) in zip(alone, in_batch, strict=True)
    ):
        raise Skip("the output for one sample has another shape: see batch.sizes[1]")
    what = "the output for {} alone is not the one that it has in a batch, in eval mode"
    return compare_samples(subject, cases, what, tolerance, same_draws=False)


@check("batch.sizes", Level.MUST, variants=(1, 3), valueless=True)
def sizes(subject: Subject, size: int) -> str | None:
    """The model takes one and three samples, and its outputs follow.

    Why: the last batch of an epoch is smaller, and a model that is served sees single samples. What breaks is
    a batch size written into a reshape, and `squeeze()` without an axis, which drops the batch of one.
    Fix: take the batch size from the input, or leave it to `-1`; squeeze named axes.
    Declare: an exemption, where the batch size is part of the model.
    """
    usual = subject.default_size
    arguments = subject.batch(size)
    try:
        found = leaves(subject.run(arguments))
    except Failure as failure:
        raise Failure(
            f"the model takes {usual} samples and not {size}: {failure.what}",
            where=failure.where,
            cause=_constant(subject, failure.what, usual),
            error=failure.error,
        ) from failure.error
    try:
        axes = subject.output_axes
    except Skip:  # other sizes do not run
        axes = None
    for now, before, axis in zip(found, subject.reference, axes or [None] * len(found), strict=False):
        if not _follows(now.tensor, before.tensor, axis, size, usual):
            raise Failure(
                "the shape of the output does not follow the batch size",
                where=now.name,
                size=f"{list(now.tensor.shape)} for {size}, {list(before.tensor.shape)} for {usual}",
                cause=shrunken_module(subject, arguments),
            )
    if axes is not None and all(axis is None for axis in axes):
        return "no output has an axis that counts samples"
    return None


@check("batch.empty", Level.CAPABILITY, valueless=True)
def empty(subject: Subject) -> None:
    """The model takes a batch without samples and returns outputs without samples.

    Why: a detector without detections hands an empty batch to the next stage, and so does a filter in a data
    pipeline.
    Fix: reshape with sizes instead of `-1`, which cannot be told from 0 values; no `max` over the batch.
    Declare: `supports={"batch.empty"}` holds the model to it.
    """
    arguments = subject.batch(0)
    for leaf, axis in subject.batched(leaves(subject.run(arguments))):
        if leaf.tensor.shape[axis] != 0:
            raise Failure(
                "the output for no samples is not empty", where=leaf.name, size=str(list(leaf.tensor.shape))
            )


@check("batch.train_one", Level.CAPABILITY)
def train_one(subject: Subject) -> None:
    """The model can be trained with one sample.

    Why: the last batch of an epoch may hold one sample, and large inputs are trained one by one. Batch
    normalisation cannot: over one sample of one pixel there is nothing to normalise by.
    Fix: `drop_last=True` in the data loader, larger inputs, or a normalisation that does without the batch.
    Declare: `supports={"batch.train_one"}` holds the model to it.
    """
    seen: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def before(path: str, module: nn.Module, args: tuple[Tensor, ...], kwargs: object) -> None:
        seen.append((path, module, tuple(args[0].shape)))

    norms = [
        (p, module) for p, module in named_modules(subject.model) if isinstance(module, BatchOrInstanceNorm)
    ]
    try:
        with forward_hooks(norms, before=before):
            backward(subject, size=1)
    except Failure as failure:
        path, module, shape = seen[-1] if seen else ("", None, ())
        if module is not None and Size(shape).numel() == Size(shape[:2]).numel():
            pixels = " x ".join(map(str, shape[2:]))
            seen_as = f"a sample of {pixels} pixels" if pixels else "one value per channel"
            raise Failure(
                f"{type(module).__name__} cannot normalise one sample: it sees {seen_as}",
                where=f"`{path}`",
                error=failure.error,
            ) from failure.error
        raise


@check("batch.gradient", Level.MUST)
def gradient(subject: Subject) -> str | None:
    """In eval mode, the output for a sample has no gradient in the other samples of its batch.

    Row i of the matrix in the message is the output for sample i, column j its largest gradient in sample j.

    Why: it finds every leak that can be differentiated, however small, without a tolerance.
    Fix: the message names the module whose output mixes samples, where the values show it.
    Declare: as for batch.neighbour.
    """
    first, last = ends(subject)
    size = min(subject.default_size, 3)
    matrix = leak_matrix(subject, size)
    if not matrix.diagonal().any() and stir(subject):  # a head may start at zero
        matrix = leak_matrix(subject, size)
    if not matrix.diagonal().any():
        raise Skip("no output has a gradient in its own sample, before and after a step of training")
    leaks = matrix - matrix.diagonal().diag()
    if not leaks.any():
        return None
    i, j = divmod(int(leaks.argmax()), size)
    ours, others = subject.batch(), subject.batch(seed=1)
    raise Failure(
        f"the output for sample {i} has a gradient in sample {j}, in eval mode",
        where=" ".join(f"[{' '.join(_figure(value) for value in row)}]" for row in matrix),
        size=f"{float(leaks.max()):.1e}, where its gradient in itself is {float(matrix[i, i]):.1e}",
        cause=mixing_module(subject, ours, ours.keeping(first, others), [first], [first])
        or mixing_module(subject, ours, ours.keeping(last, others), [last], [last]),
    )


@check("batch.nan", Level.SHOULD)
def nan(subject: Subject) -> str | None:
    """In eval mode, a sample full of NaN leaves the outputs for the other samples as they are.

    Why: one corrupt image is not to spoil a batch. Samples that are multiplied by 0 and added, as a mask or a
    routing matrix does, pass every other check, and 0 times NaN is NaN.
    Fix: select (`torch.where`, indexing) in place of multiplying by 0; the message names the module.
    Declare: an exemption.
    """
    size = ends(subject)[-1] + 1
    spoilt = size // 2
    kept = [index for index in range(size) if index != spoilt]
    if not any(differentiable(tensor) for tensor in subject.batch().tensors):
        raise Skip("the inputs are integers: they cannot be NaN")

    def make() -> Arguments:
        ours = subject.batch()
        spoiled = ours.map(lambda t: torch.full_like(t, torch.nan) if differentiable(t) else t)
        return spoiled.keeping(spoilt, ours)

    what = "a NaN in another sample changes the output for {}, in eval mode"
    try:
        return compare_samples(subject, [Samples("a sample", make, kept, kept)], what)
    except Failure as failure:
        if failure.error is not None:
            raise Skip(f"the model refuses a NaN: {failure.what}") from None
        failure.size = f"sample {spoilt} is NaN"
        raise


def _follows(now: Tensor, before: Tensor, axis: int | None, size: int, usual: int) -> bool:
    """Whether an output has the shape that it should have for `size` samples, told by that for `usual`."""
    if now.ndim != before.ndim:
        return False
    if axis is not None:
        return now.shape[axis] == size
    changed = [(m, n) for m, n in zip(now.shape, before.shape, strict=True) if m != n]
    if any(m * usual != n * size for m, n in changed):
        return False
    # Samples may be merged with another axis, but not beside a first axis that stays as long as the batch.
    return not (changed and now.shape[0] == before.shape[0] == usual)


def _constant(subject: Subject, message: str, usual: int) -> str:
    if not re.search(rf"\b{usual}\b", message):
        return ""
    try:
        subject.run(subject.batch(usual + 1))
    except Failure:
        pass
    else:
        return ""  # other sizes run too: the number is that of another axis
    return f"the error names {usual}, the batch size that works: it seems to be written into the model"


def _figure(value: Tensor) -> str:
    return f"{float(value):.0e}" if value else "0"
