from __future__ import annotations

from ...._prove.proof import first_line
from ....errors import InputError
from ... import Failure, Level, Skip, Subject, check


@check("shapes.all_sizes", Level.MUST, slow=True)
def all_sizes(subject: Subject) -> str:
    """Every annotated line holds for every size of the axes that the inputs leave free.

    The check traces the model in eval mode with symbolic sizes, once for each path through its branches. A
    line that it finds wrong is confirmed with real tensors before it is reported. Sizes of 1 and an empty
    batch are run with real tensors.

    Why: `"batch 8 height//2 width//2"` is right for every even image size if the layer rounds up, and tests
    at 32 pixels pass. The first image of 33 pixels fails, in production.
    Fix: annotate what the layer does, such as `(height+1)//2`; the message has the size that is wrong.
    Declare: nothing: a model may refuse sizes, and a model that cannot be traced without values is skipped.
    """
    from ...._prove.prove import prove  # symbolic sizes take a second to import

    try:
        proof = prove(subject.model, subject.example)
    except InputError as error:
        raise Skip(str(error)) from None
    if not proof.lines:
        raise Skip("no line is annotated")
    if not proof.axes:
        raise Skip("no input has an axis that may have any size")
    for line in proof.failed:
        raise Failure(
            f"{proof.summary}: {first_line(line.error)}", where=f"{line.place.file}:{line.place.line}"
        )
    if proof.reason:
        raise Skip(proof.summary)
    return proof.summary if proof.conditions or proof.tied else ""
