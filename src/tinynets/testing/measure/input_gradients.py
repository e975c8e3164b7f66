"""Which parts of the inputs have no gradient, written as slices such as `x[:, 0:3]`: at most 24 batches, and
two training steps before they count.
"""

from __future__ import annotations

from itertools import pairwise, product

import torch
from torch import Tensor

from ..._torch.state.random_states import seed_everything
from ...errors import Skip
from ..subject import Subject
from .model_errors import as_skip
from .training import differentiable, input_gradients, scaled_objective, take_step, trained

_BATCHES = 24
"""Stop after this many batches; inputs that are never read stay uncovered."""


def dead_inputs(subject: Subject) -> tuple[list[str], str]:
    """Return the parts of the inputs without a gradient in training mode, as slices, and a note.

    Batches are drawn until they cover nothing new. Before an element counts as dead, the model is trained for
    two steps, since a head or a gate may start at zero.

    Raises:
        Skip: no input is of a float type, no output carries a gradient, or the model does not train.
    """
    with as_skip("no pass of training comes to its end: {}"):
        covered = _covered(subject, 0)
    last, stepped, drawn = 0, False, 1
    while not all(bool(part.all()) for part in covered.values()) and drawn < _BATCHES:
        if drawn > 2 * last + 3:
            if stepped or not trained(subject.model) or not take_step(subject, 2):
                break
            stepped, last = True, drawn
        now = _covered(subject, drawn)
        more = {name: part | now[name] for name, part in covered.items()}
        if any(not torch.equal(more[name], part) for name, part in covered.items()):
            last = drawn
        covered, drawn = more, drawn + 1
    example = subject.batch(training=True)
    samples = drawn * (example.size or 1)
    rest = sum(int((~part).sum()) for part in covered.values())
    total = sum(part.numel() for part in covered.values())
    if rest and drawn >= _BATCHES:
        return [], f"{rest} of {total} elements of the input had no gradient yet after {samples} samples"
    axes = dict(zip(example.names, example.axes, strict=True))
    dead = [text for name, part in covered.items() for text in slices(name, ~part, axes[name])]
    return dead, f"{rest} of {total} elements, in {samples} samples" if rest else ""


def _covered(subject: Subject, seed: int) -> dict[str, Tensor]:
    """Return for every float input which elements have a gradient in some sample of one batch."""
    batch = subject.batch(seed=seed, training=True)
    tensors = [t.detach().requires_grad_(differentiable(t)) for t in batch.tensors]
    places = [index for index, tensor in enumerate(tensors) if tensor.requires_grad]
    if not places:
        raise Skip("the inputs are integers: they have no gradient")
    subject.model.train()
    seed_everything(subject.seed + seed)
    with torch.enable_grad():
        clones = [t.clone() if t.requires_grad else t for t in tensors]
        total = scaled_objective(subject.call(batch.with_tensors(clones)), seed)
    if not total.requires_grad:
        raise Skip("no output carries a gradient: a detach, a no_grad, or integers are on the way")
    gradients = input_gradients([total], [tensors[index] for index in places])
    found: dict[str, Tensor] = {}
    for index, gradient in zip(places, gradients, strict=True):
        tensor, axis = tensors[index], batch.axes[index]
        hit = ~tensor.detach().isfinite()  # infinite values, as in an additive mask, need no gradient
        hit = hit if gradient is None else hit | (gradient != 0)
        found[batch.names[index]] = hit if axis is None else hit.any(axis)
    return found


def slices(name: str, dead: Tensor, batch_axis: int | None = None) -> list[str]:
    """Return where a tensor is True, as slices of `name` such as `x[:, 0:3, :]`.

    Args:
        name: what is sliced.
        dead: the tensor of bools.
        batch_axis: an axis that is missing in `dead` and written as `:`.
    """
    if not bool(dead.any()):
        return []
    if bool(dead.all()):
        return [f"all of {name}"]

    def text(ranges: list[str]) -> str:
        if batch_axis is not None:
            ranges = [*ranges[:batch_axis], ":", *ranges[batch_axis:]]
        return f"{name}[{', '.join(ranges)}]"

    whole = [":"] * dead.ndim
    rest, found = dead.clone(), list[str]()
    for axis in range(dead.ndim):  # first slices that are dead as a whole: a border, a channel
        others = [other for other in range(dead.ndim) if other != axis]
        across = dead.all(dim=others) if others else dead
        for run in _runs(across):
            found.append(text([*whole[:axis], run, *whole[axis + 1 :]]))
        rest[(slice(None),) * axis + (across,)] = False
    if bool(rest.any()):
        used = [rest.any(dim=[o for o in range(rest.ndim) if o != axis]) for axis in range(rest.ndim)]
        box = torch.ones_like(rest)
        for axis, indices in enumerate(used):
            box &= indices.view([-1 if other == axis else 1 for other in range(rest.ndim)])
        runs = [[":"] if bool(indices.all()) else _runs(indices) for indices in used]
        if torch.equal(box, rest) and sum(map(len, runs)) <= rest.ndim + 3:
            found.extend(text(list(ranges)) for ranges in product(*runs))
        else:
            places = [indices.nonzero().flatten() for indices in used]
            bounds = [f"{int(place[0])}:{int(place[-1]) + 1}" for place in places]
            found.append(f"{int(rest.sum())} elements within {text(bounds)}")
    return found


def _runs(flags: Tensor) -> list[str]:
    """Return where a vector is True, as `3`, `0:2` or `1::2`."""
    places = [int(place) for place in flags.nonzero().flatten()]
    steps = {b - a for a, b in pairwise(places)}
    if len(places) > 2 and len(steps) == 1 and (step := steps.pop()) > 1:
        end = "" if places[-1] + step >= len(flags) else str(places[-1] + 1)
        return [f"{places[0]}:{end}:{step}"]
    found: list[str] = []
    for place in places:
        if (
            found
            and (last := [int(end) for end in found[-1].split(":")])
            and last[-1] + (len(last) == 1) == place
        ):
            found[-1] = f"{last[0]}:{place + 1}"
        else:
            found.append(str(place))
    return found
