from __future__ import annotations

import math

from ... import Failure, Level, Skip, Subject, check
from ...locate.gradients import fewest_normalised, owner_of
from ...measure.training import norm, trained
from ._shared import training_passes

_FEW = 16  # values per channel in a batch norm: their variance may be tiny by chance


@check("gradients.scale", Level.SHOULD)
def scale(subject: Subject, *, limit: float = 1e3) -> None:
    """In training mode, no gradient is large relative to its parameter.

    The check compares the norm of each gradient with the norm of its parameter, or with 1 if that is larger.
    It differentiates a random projection of the outputs, scaled to unit variance if the outputs have unit
    variance. Large gradients are skipped, not reported, if a batch norm sees 16 or fewer values per channel:
    their variance may be tiny by chance.

    Why: the first training steps push such a model out of its usable range.
    Fix: look for inputs or outputs in raw units (0 to 255, milliseconds), a sum where a mean is meant, a
    missing 1/sqrt(width), a factor in front of a loss.
    Declare: a larger `limit` in `params=`.
    """
    passes = training_passes(subject)
    sizes = {name: max(norm(p), 1.0) for name, p in trained(subject.model).items()}
    ratios = {n: g.norm / sizes[n] for n, g in passes[0].items() if g is not None and n in sizes}
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
