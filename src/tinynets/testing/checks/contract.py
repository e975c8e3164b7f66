"""Whether the model runs, and gives outputs of one kind."""

from __future__ import annotations

from ...errors import Failure
from ..definition import Level, check
from ..measure.compare import leaves, outline
from ..subject import Subject


@check("contract.runs_eval", Level.MUST, valueless=True)
def runs_eval(subject: Subject) -> None:
    """The model runs in eval mode, and every number that it gives is finite.

    Why: everything else is a comparison of outputs.
    Fix: the message has the exception and the line, or the output with the NaN; a contract that is broken
    shows as the exception.
    Declare: if the example cannot be run as it is, pass inputs that can.
    """
    _runs(subject, training=False)


@check("contract.runs_train", Level.MUST, valueless=True)
def runs_train(subject: Subject) -> None:
    """The model runs in training mode, and every number that it gives is finite.

    Why: a model that is only ever called in eval mode in its tests breaks in the first step of training.
    Fix: the message has the exception and the line, or the output with the NaN.
    Declare: where training takes other arguments (targets of a detector), `train_inputs=`.
    """
    _runs(subject, training=True)


def _runs(subject: Subject, *, training: bool) -> None:
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


@check("contract.structure", Level.MUST, valueless=True)
def structure(subject: Subject) -> str | None:
    """Two batches give outputs of the same structure, ranks and dtypes, in either mode.

    Why: code that unpacks the output, `DataParallel`, `torch.compile` and exporters count on it.
    Fix: no branch on values or sizes may choose what is returned; squeeze named axes only.
    Declare: a change between training and eval mode (auxiliary heads) is reported, not judged.
    """
    kinds: list[object] = []
    for training in (False, True):
        first, second = (
            subject.run(subject.batch(seed=seed, training=training), training=training) for seed in (0, 1)
        )
        if (a := outline(first, sizes=False)) != (b := outline(second, sizes=False)):
            mode = "training" if training else "eval"
            raise Failure(f"two batches give outputs of two kinds in {mode} mode", where=f"{a}, then {b}")
        kinds.append(a)
    return None if kinds[0] == kinds[1] else f"eval gives {kinds[0]}, training {kinds[1]}"


@check("contract.repr", Level.MUST, static=True)
def representation(subject: Subject) -> None:
    """`repr(model)` works and stays below a megabyte.

    Why: notebooks, debuggers and error messages print the model.
    Fix: look at `extra_repr`; summarise what is long.
    Declare: an exemption.
    """
    try:
        text = repr(subject.model)
    except Exception as error:
        raise Failure(f"repr(model) raised {type(error).__name__}: {error}", error=error) from error
    if len(text) > 1_000_000:
        raise Failure("repr(model) is too long", size=f"{len(text):,} characters (limit 1,000,000)")
