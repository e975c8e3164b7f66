"""Whether gradients reach every parameter and every input, and are of use."""

from __future__ import annotations

import math
from typing import Any

from torch.utils import checkpoint as recomputing

from ...errors import Failure, Skip
from ...inputs.draw import Arguments
from ..definition import Level, check
from ..locate.gradients import (
    changed_in_place,
    fewest_normalised,
    first_nan,
    owner_of,
    reason_for_zero,
    reasons_for_none,
)
from ..measure.input_gradients import dead_inputs
from ..measure.training import Pass, backward, dense, measured, norm, trained, training
from ..subject import Subject, raised

_NAMED = 5
_FEW = 16  # values that a batch norm divides by the spread of: it may be tiny by chance
_recompute: Any = getattr(recomputing, "checkpoint")  # noqa: B009 - torch leaves it half typed


@check("gradients.reach", Level.MUST)
def reach(subject: Subject) -> None:
    """In training mode, every parameter gets a gradient: not in every batch perhaps, but in one of three.

    Why: a parameter without a gradient is never trained, and no error says so. Typical are a layer that is
    made and not called, a `detach()` or `torch.no_grad()` that stayed, `.data`, a detour through numpy, and
    an output that is not returned.
    Fix: the message says for each whether its module was called, and whether under `no_grad`.
    Declare: what is not to be trained: `requires_grad_(False)`, or a buffer. A branch that other arguments
    take (experts, optional inputs): an exemption.
    """
    found = training(subject)
    if found.failure is not None:
        found.failure.cause = changed_in_place(subject)
        raise found.failure
    lost = [name for name in found.passes[0] if all(one[name] is None for one in found.passes)]
    if not lost:
        return
    raise Failure(
        f"{_count(len(lost), len(found.passes[0]))} no gradient in training",
        where=_listed(lost),
        size=f"None in {len(found.passes)} batches, with a step of training after each",
        cause="; ".join(reasons_for_none(subject, lost)),
    )


@check("gradients.zero", Level.SHOULD)
def zero(subject: Subject) -> None:
    """In training mode, no gradient is zero throughout in three batches with a step after each.

    A head that starts at zero is no objection: after one step the gradients pass it.

    Why: a parameter whose gradient is always zero is not trained either: a unit that is dead from the start,
    a factor of zero, a `round()` or `argmax` on the way, a `clamp` that is always at its end.
    Fix: look at what is between the parameter and the output; `torch.autograd` gives zero for every function
    that is constant in pieces.
    Declare: an exemption.
    """
    passes = _passes(subject)
    silent = [
        name
        for name in passes[0]
        if any(one[name] is not None for one in passes)
        and all((gradient := one[name]) is None or gradient.peak == 0 for one in passes)
    ]
    if silent:
        raise Failure(
            f"{_count(len(silent), len(passes[0]))} a gradient of zero in training",
            where=_listed(silent),
            size=f"exactly 0 in {len(passes)} batches, with a step of training after each",
            cause=reason_for_zero(subject, silent),
        )


@check("gradients.eval_reach", Level.INFO)
def eval_reach(subject: Subject) -> None:
    """In eval mode, the same parameters get a gradient as in training mode.

    Why: it shows what only training uses, such as auxiliary heads: fine-tuning in eval mode (frozen batch
    normalisation) leaves them behind.
    Fix: nothing, if it is meant.
    Declare: nothing: it is reported, not judged.
    """
    passes = _passes(subject)
    backward(subject, training=False)
    now = measured(subject.model)
    lost = [name for name in now if now[name] is None and passes[0][name] is not None]
    if lost:
        raise Failure(f"{_count(len(lost), len(now))} a gradient in training only", where=_listed(lost))


@check("gradients.ddp", Level.SHOULD)
def ddp(subject: Subject) -> None:
    """In training mode, every parameter gets a gradient in every batch.

    Why: `DistributedDataParallel` waits for all gradients, and stops with "Expected to have finished
    reduction in the prior iteration" where one does not come, or hangs if the processes differ in which.
    Fix: `find_unused_parameters=True`, which costs a walk through the graph in every step; or let every
    branch take part, if with a weight of zero.
    Declare: layers that are dropped at random: an exemption.
    """
    passes = _passes(subject)
    missing = [name for name in passes[0] if any(one[name] is None for one in passes)]
    if missing:
        batches = sum(any(one[name] is None for name in missing) for one in passes)
        raise Failure(
            "DistributedDataParallel needs find_unused_parameters=True",
            where=_listed(missing),
            size=f"no gradient in {batches} of {len(passes)} batches",
        )


@check("gradients.finite", Level.MUST)
def finite(subject: Subject) -> str | None:
    """In training mode, the gradients of the model as it comes are finite.

    Why: one NaN in one gradient makes a parameter NaN in the first step, and in the next one all of them.
    Outputs may be finite all the same: `sqrt`, `norm` and `log` at 0, and `torch.where` with a NaN in the
    branch that is not taken.
    Fix: the message names the operation and, where it can, the line. Keep the argument away from the pole
    inside, not the result: `torch.where(ok, x, 1).sqrt()`.
    Declare: an exemption.
    """
    passes = _passes(subject)
    broken = _not_finite(passes[0])
    if broken:
        raise Failure(
            f"{_count(len(broken), len(passes[0]))} a gradient that is not finite",
            where=_listed(broken),
            cause=first_nan(subject),
        )
    later = next((number for number, one in enumerate(passes) if _not_finite(one)), None)
    return None if later is None else f"not finite any more after {later} steps of training"


@check("gradients.scale", Level.SHOULD)
def scale(subject: Subject, *, limit: float = 1e3) -> None:
    """In training mode, no gradient is large against its parameter.

    The norm of each gradient is compared with that of its parameter, but at least 1; what is differentiated
    is a random projection of the outputs, scaled to unit variance for outputs of unit variance. Where a batch
    norm sees 16 values of each channel or fewer, nothing is judged: their spread may be tiny by chance.

    Why: the first steps of training throw such a model out of its range.
    Fix: inputs or outputs in raw units (0 to 255, milliseconds), a sum where a mean is meant, a missing
    1/sqrt(width), a factor in front of a loss.
    Declare: a larger `limit` by `params=`.
    """
    passes = _passes(subject)
    sizes = {name: max(norm(p), 1.0) for name, p in trained(subject.model).items()}
    ratios = {name: g.norm / sizes[name] for name, g in passes[0].items() if g is not None}
    ratios = {name: ratio for name, ratio in ratios.items() if math.isfinite(ratio)}
    if not ratios:
        raise Skip("no gradient is finite: see gradients.finite")
    name = max(ratios, key=ratios.__getitem__)
    if ratios[name] > limit:
        path, values = fewest_normalised(subject)
        if path and values <= _FEW:
            owner, few = owner_of(subject.model, f"{path}."), f"{values} values of each channel"
            raise Skip(f"gradients are large where {owner} normalises over {few}: try larger inputs")
        owner = owner_of(subject.model, name)
        size = f"{ratios[name]:.1e} times its parameter (limit {limit:.0e})"
        raise Failure("a gradient is large against its parameter", where=f"`{name}`, of {owner}", size=size)


@check("gradients.input", Level.SHOULD)
def inputs(subject: Subject) -> str | None:
    """In training mode, every element of every float input has a gradient, in some sample.

    Why: what has none is not looked at: pixels that a stride leaves over, a channel that a slice forgets, the
    last step of a sequence.
    Fix: the message has the part of the input, as a slice.
    Declare: a model that is not to look at all of its input: an exemption.
    """
    dead, note = dead_inputs(subject)
    if dead:
        parts = ", ".join(dead[:_NAMED]) + (f" and {len(dead) - _NAMED} more" if len(dead) > _NAMED else "")
        raise Failure("parts of the input have no gradient", where=parts, size=note)
    return note or None


@check("gradients.checkpoint", Level.CAPABILITY)
def checkpoint(subject: Subject, *, tolerance: float = 5e-5) -> None:
    """Training with activation checkpointing gives the same gradients as without.

    The whole model is called through `torch.utils.checkpoint`, which runs the forward pass again during the
    backward pass. The largest difference is measured against the largest gradient of all.

    Why: checkpointing trades time for memory, and a forward pass that does not repeat itself gives gradients
    of a function that was never computed.
    Fix: draw random numbers from torch, not from Python or numpy; do not change inputs or count calls.
    Declare: `supports={"gradients.checkpoint"}` holds the model to it.
    """
    _passes(subject)
    backward(subject)
    plain = {name: dense(p.grad) for name, p in trained(subject.model).items()}
    subject.restore()

    def call(arguments: Arguments) -> Any:
        try:
            return _recompute(subject.model, *arguments.args, use_reentrant=False, **arguments.kwargs)
        except Exception as error:
            raise raised(error) from error

    backward(subject, call=call)
    largest = max((float(g.abs().max()) for g in plain.values() if g is not None and g.numel()), default=0.0)
    for name, parameter in trained(subject.model).items():
        before, now = plain[name], dense(parameter.grad)
        if (before is None) != (now is None):
            raise Failure(
                "a parameter gets a gradient only without, or only with checkpointing", where=f"`{name}`"
            )
        if before is not None and now is not None and before.numel():
            error = float((now - before).abs().max()) / (largest or 1.0)
            if not error <= tolerance:
                raise Failure(
                    "checkpointing changes the gradients",
                    where=f"`{name}`",
                    size=f"{error:.1e} of the largest gradient (limit {tolerance:.0e})",
                    cause="the forward pass, run again, does not repeat itself",
                )


def _passes(subject: Subject) -> tuple[Pass, ...]:
    found = training(subject)
    if found.failure is not None:
        raise Skip("no pass of training comes to its end: see gradients.reach")
    return found.passes


def _not_finite(one: Pass) -> list[str]:
    return [name for name, gradient in one.items() if gradient and not math.isfinite(gradient.peak)]


def _count(number: int, total: int) -> str:
    return f"{number} of {total} parameters {'gets' if number == 1 else 'get'}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"`{name}`" for name in names[:_NAMED]) + more
