from __future__ import annotations

from contextlib import suppress
from types import FunctionType, MethodType

from jaxtyping import AnnotationError

from ...._contract.contract import contract, contract_of
from ....errors import ContractError
from ....inputs.make_inputs import forward_specs
from ... import Failure, Level, Skip, Subject, check
from ...measure.model_errors import as_skip


@check("runs.axes", Level.MUST, valueless=True)
def free_axes(subject: Subject, *, axes: tuple[str, ...] = ()) -> str:
    """For every other size of a free axis that the model accepts, the output matches its annotation.

    Free axes are the names in the input annotations, except the batch axis, attributes of the model and parts
    of expressions. The check tries one step less and one more for each; if neither runs, half and twice the
    size.

    Why: `"batch time width"` promises any length. A forward that cuts or pads to the length of its table
    breaks its annotation, and tests with one length do not notice.
    Fix: take the size from the input, or annotate the number.
    Declare: nothing: a model may refuse sizes, unless `params={"runs.axes": {"axes": ("time",)}}` requires
    other sizes to run. The parameter may name axes of shapes such as `"batch 3 height=32"` too.
    """
    example = subject.batch()
    sizes = {
        name: tensor.shape[axis]
        for tensor, names in zip(example.tensors, example.axis_names, strict=False)
        for axis, name in enumerate(names)
        if name
    }
    for name in axes:
        if name not in sizes:
            raise Skip(f"no input has a free axis {name!r}: they are {', '.join(sizes) or 'none'}")
    if not sizes:
        raise Skip("no annotation leaves an axis free, but for the batch")
    _enforce(subject)
    fixed = [name for name, size in sizes.items() if not _varied(subject, name, size, needed=name in axes)]
    if len(fixed) == len(sizes):
        raise Skip(f"no other size of {' and '.join(fixed)} runs")
    return f"only one size of {' and '.join(fixed)} runs" if fixed else ""


def _enforce(subject: Subject) -> None:
    """Enforce the annotations of a model that does not enforce them itself.

    Raises:
        Skip: they do not hold for the example.
    """
    model = subject.model
    forward = getattr(type(model), "forward", None)
    if contract_of(forward) or not isinstance(forward, FunctionType) or "return" not in forward_specs(model):
        return
    with suppress(AnnotationError):
        model.forward = MethodType(contract(forward), model)
        with as_skip("the annotation does not hold for the example: {}"):
            subject.run(subject.batch())


def _varied(subject: Subject, name: str, size: int, *, needed: bool) -> bool:
    """Return whether another size runs.

    Raises:
        Failure: the output does not match its annotation, or no other size runs and one is needed.
    """
    refusal: Failure | None = None
    for others in ((size - 1, size + 1), (size // 2, size * 2)):
        ran = False
        for other in filter(None, others):
            try:
                subject.run(subject.batch().resized(name, other))
                ran = True
            except Failure as failure:
                error = failure.error
                if isinstance(error, ContractError) and error.where == "return" and not error.module_path:
                    what = f"the output is not as annotated where `{name}` is {other}: {error}"
                    raise Failure(what, where=failure.where, error=error) from error
                refusal = failure
        if ran:
            return True
    if needed and refusal is not None:
        what = f"the model takes {size} for `{name}` and no other size: {refusal.what}"
        raise Failure(what, where=refusal.where, error=refusal.error) from refusal.error
    return False
