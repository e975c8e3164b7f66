"""Whether gradients reach every parameter and every input, and are of use."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils import checkpoint as recomputing

from ..arguments import Arguments
from ..base import Failure, Level, Skip, check
from ..coverage import dead_inputs
from ..subject import Subject, raised
from ..training import Pass, backward, measured, norm, trained, training

_NAMED = 5
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
        raise found.failure
    lost = [name for name in found.passes[0] if all(one[name] is None for one in found.passes)]
    if not lost:
        return
    reasons = _reasons(subject, lost)
    raise Failure(
        f"{_count(len(lost), len(found.passes[0]))} no gradient in training",
        where=_listed(lost),
        size=f"None in {len(found.passes)} batches, with a step of training after each",
        cause="; ".join(dict.fromkeys(reasons)),
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
            cause=_anomaly(subject),
        )
    later = next((number for number, one in enumerate(passes) if _not_finite(one)), None)
    return None if later is None else f"not finite any more after {later} steps of training"


@check("gradients.scale", Level.SHOULD)
def scale(subject: Subject, *, limit: float = 1e3) -> None:
    """In training mode, no gradient is large against its parameter.

    The norm of each gradient is compared with that of its parameter, but at least 1; what is differentiated
    is a random projection of the outputs, scaled to unit variance for outputs of unit variance.

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
        owner = _owner(subject.model, name)
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
    plain = {name: None if p.grad is None else p.grad for name, p in trained(subject.model).items()}
    subject.restore()

    def call(arguments: Arguments) -> Any:
        try:
            return _recompute(subject.model, *arguments.args, use_reentrant=False, **arguments.kwargs)
        except Exception as error:
            raise raised(error) from error

    backward(subject, call=call)
    largest = max((float(g.abs().max()) for g in plain.values() if g is not None and g.numel()), default=0.0)
    for name, parameter in trained(subject.model).items():
        before, now = plain[name], parameter.grad
        if (before is None) != (now is None):
            raise Failure(
                "a parameter gets a gradient only without, or only with checkpointing", where=f"`{name}`"
            )
        if before is not None and now is not None and before.numel():
            error = float((now.to_dense() - before.to_dense()).abs().max()) / (largest or 1.0)
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


def _owner(model: nn.Module, name: str) -> str:
    path = name.rpartition(".")[0]
    kind = type(model.get_submodule(path)).__name__
    return f"`{path}` ({kind})" if path else kind


def _reasons(subject: Subject, names: list[str]) -> list[str]:
    """Say of the module of each parameter whether a pass called it, and whether gradients could leave it."""
    model = subject.model
    calls: dict[str, tuple[bool, bool]] = {}

    def watch(path: str):
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            tensors = [t for t in pytree.tree_leaves(output) if isinstance(t, torch.Tensor)]
            calls[path] = torch.is_grad_enabled(), any(t.requires_grad for t in tensors)

        return hook

    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    for path in paths:
        model.get_submodule(path).register_forward_hook(watch(path))
    backward(subject)
    reasons: list[str] = []
    for path in paths:
        owner = _owner(model, f"{path}.x" if path else "x")
        if path not in calls:
            reasons.append(f"{owner} is never called")
        elif not calls[path][0]:
            reasons.append(f"{owner} is called under torch.no_grad()")
        elif not calls[path][1]:
            reasons.append(f"{owner} is called, but what it returns is cut from the graph")
        elif path:
            reasons.append(f"{owner} is called, but nothing that is returned depends on it")
        else:
            reasons.append(f"{owner}.forward does not use it, or cuts it from the graph")
    return reasons


def _anomaly(subject: Subject) -> str:
    """Say which operation returned the first NaN in the backward pass, and in which line it was called."""
    with warnings.catch_warnings(record=True) as caught, torch.autograd.detect_anomaly():
        warnings.simplefilter("always")
        try:
            backward(subject)
        except Failure as failure:
            operation = re.search(r"Function '(\w+?)\d*' returned nan", failure.what)
        else:
            return ""
    traces = re.findall(
        r'File "([^"]+)", line (\d+), in \w+\n\s+(.+)', "".join(str(w.message) for w in caught)
    )
    own = [t for t in traces if "/torch/" not in t[0] and "/tinynets/testing/" not in t[0]]
    line = f" of {own[-1][0]}:{own[-1][1]}: {own[-1][2].strip()}" if own else ""
    return (
        f"{operation[1].removesuffix('Backward')} returns the first NaN: the gradient{line}"
        if operation
        else ""
    )
