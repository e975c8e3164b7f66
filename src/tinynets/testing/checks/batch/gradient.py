from __future__ import annotations

from torch import Tensor

from ... import Failure, Level, Skip, Subject, check
from ...locate.mixing import mixing_module
from ...measure.batch_independence import first_last, leak_matrix
from ...measure.training import take_step


@check("batch.gradient", Level.MUST)
def gradient(subject: Subject) -> str | None:
    """In eval mode, the output for a sample has no gradient with respect to the other samples.

    Entry (i, j) of the matrix in the message is the largest gradient of output i with respect to sample j.

    Why: it finds every differentiable leak, however small, without a tolerance.
    Fix: the message names the module whose output mixes samples, if the values show it.
    Declare: as for batch.neighbour.
    """
    first, last = first_last(subject)
    size = min(subject.default_size, 3)
    matrix = leak_matrix(subject, size)
    if not matrix.diagonal().any() and take_step(subject):  # a head may start at zero
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
        cause=mixing_module(subject, ours, ours.replace_others(first, others), [first], [first])
        or mixing_module(subject, ours, ours.replace_others(last, others), [last], [last]),
    )


def _figure(value: Tensor) -> str:
    return f"{float(value):.0e}" if value else "0"
