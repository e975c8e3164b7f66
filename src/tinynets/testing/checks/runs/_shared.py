"""Running the model once, for both modes."""

from __future__ import annotations

from ... import Failure, Subject
from ...measure.compare import leaves


def assert_finite_outputs(subject: Subject, *, training: bool) -> None:
    """Run the model in one mode.

    Raises:
        Failure: the model raised, or returned no tensor or a non-finite value.
    """
    found = leaves(subject.run(subject.batch(training=training), training=training))
    if not found:
        raise Failure("the output holds no tensor", cause="forward returns nothing: is a `return` missing?")
    for leaf in found:
        if leaf.tensor.is_meta:
            continue
        if leaf.tensor.is_floating_point() or leaf.tensor.is_complex():
            bad = int((~leaf.tensor.isfinite()).sum())
            if bad:
                size = f"{bad} of {leaf.tensor.numel()} values"
                raise Failure("the output is not finite", where=leaf.name, size=size)
