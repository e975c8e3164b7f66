from __future__ import annotations

from ... import Failure, Level, Skip, Subject, check
from ...measure.compare import Difference, Leaf, worst
from ._sequence import count_steps, has_steps, replace_steps


@check("batch.causal", Level.MUST, opt_in=True)
def causal(subject: Subject, *, axis: int = 1) -> str | None:
    """In eval mode, no step of the output depends on a later step of the input.

    The check replaces the inputs from some step on, for three such steps. The outputs before that step must
    stay bit-identical.

    Why: a language model that sees the next token learns to copy it: its loss looks excellent, but it cannot
    generate.
    Fix: mask with `torch.triu(..., diagonal=1)`, pad convolutions on the left only, normalise over channels.
    Declare: `supports={"batch.causal"}` turns the check on; `params={"batch.causal": {"axis": 2}}` sets the
    time axis of inputs and outputs.
    """
    steps = count_steps(subject, axis)
    if steps < 2:
        raise Skip(f"the inputs have one step along axis {axis}")
    cuts = sorted({1, steps // 2, steps - 1})
    guilty = cuts[0]
    changed = False

    def measure() -> Difference | None:
        nonlocal guilty, changed
        before = _stepped(subject.outputs(subject.batch()), axis, steps)
        found: Difference | None = None
        for cut in cuts:
            replaced = replace_steps(subject.batch(), subject.batch(seed=1), axis, steps, slice(cut, steps))
            after = _stepped(subject.outputs(replaced), axis, steps)
            changed = changed or worst(after, before) is not None
            now = worst(_narrowed(after, axis, cut), _narrowed(before, axis, cut))
            if now is not None and (found is None or now.error > found.error):
                found, guilty = now, cut
        return found

    def objection(found: Difference) -> Failure:
        step = found.index[axis] if found.index else 0
        what = f"the output looks ahead: with other inputs from step {guilty} on, step {step} changes"
        return Failure(what, where=found.where)

    note = subject.assert_close(measure, objection, tolerance=0.0)
    if not changed:
        raise Skip("other inputs change no output: looking ahead would not show")
    return note


def _stepped(outputs: list[Leaf], axis: int, steps: int) -> list[Leaf]:
    """Return the outputs that have the steps of the inputs."""
    found = [leaf for leaf in outputs if has_steps(leaf.tensor, axis, steps)]
    if not found:
        raise Skip(f"no output has {steps} steps along axis {axis}: params= takes another one")
    return found


def _narrowed(outputs: list[Leaf], axis: int, length: int) -> list[Leaf]:
    return [Leaf(leaf.path, leaf.tensor.narrow(axis, 0, length)) for leaf in outputs]
