from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ...._torch.state.tensor_internals import write_count
from ....inputs.arguments import Arguments
from ... import Failure, Level, Subject, check
from ...call_helpers import call_no_grad, listed
from ...locate.divergence import culprits
from ...measure.compare import outline, same_bits


@check("purity.inputs", Level.MUST)
def inputs(subject: Subject) -> None:
    """A call does not write to its arguments: tensors, their flags, and the lists and dicts around them.

    Why: the caller uses them again: for another model, for a loss, in the next epoch.
    Fix: avoid in-place operations before the first operation that makes a new tensor: `x = x + 1`, not `x +=
    1`; `inplace=False` in the first layer; `dict(batch)` before `pop`.
    Declare: an exemption with the reason.
    """
    for training in (False, True):
        subject.restore()
        subject.model.train(training)
        arguments = subject.batch(training=training)
        mode = "training" if training else "eval"
        copies = [tensor.detach().clone() for tensor in arguments.tensors]
        states, structure = _written_states(arguments), _structure(arguments)
        call_no_grad(subject, arguments)
        if _structure(arguments) != structure:
            raise Failure(
                f"a call in {mode} mode changes a container among its arguments",
                where=f"{structure} -> {_structure(arguments)}",
            )
        values = [same_bits(a, b) for a, b in zip(arguments.tensors, copies, strict=True)]
        now = zip(arguments.names, states, _written_states(arguments), values, strict=True)
        written = [name for name, old, new, same in now if old != new or not same]
        if not written:
            continue
        fresh = subject.batch(training=training)

        def watch(fresh: Arguments = fresh) -> Callable[[], object]:
            before = _written_states(fresh)
            return lambda: before != _written_states(fresh)

        found = culprits(subject.model, partial(call_no_grad, subject, fresh), watch)
        raise Failure(
            f"a call in {mode} mode writes to its arguments",
            where=listed(written),
            size="" if not all(values) else "the values are the same afterwards, but autograd counts a write",
            cause=f"done by {listed(found)}" if found else "",
        )


def _written_states(arguments: Arguments) -> list[Any]:
    """Return what an in-place write changes: the version counter of autograd, `requires_grad`, the layout."""
    return [(write_count(t), t.requires_grad, t.shape, t.stride()) for t in arguments.tensors]


def _structure(arguments: Arguments) -> str:
    named = f" and {outline(arguments.kwargs)}" if arguments.kwargs else ""
    return f"{outline(arguments.args)}{named}"
