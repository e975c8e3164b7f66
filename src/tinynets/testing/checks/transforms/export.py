from __future__ import annotations

from ... import Failure, Level, Subject, check
from ._shared import assert_same_outputs, export_program, first_paragraph, seeded_outputs


@check("transforms.export", Level.SHOULD, slow=True)
def exported(subject: Subject, *, tolerance: float = 1e-4) -> None:
    """`torch.export` with a dynamic batch gives a program that gives the same values for another batch size.

    Why: serving, mobile run times, quantisation and ONNX start from an exported program.
    Fix: the message has the line, or the size that became a constant; take sizes from tensors in forward.
    Declare: an exemption.
    """
    program = export_program(subject)
    other = subject.batch(3)
    expected = subject.outputs(other)
    try:
        ours = seeded_outputs(subject, lambda: program.module()(*other.args, **other.kwargs))
    except Exception as error:
        raise Failure(
            f"the exported program does not take a batch of 3: {first_paragraph(error)}", error=error
        ) from error
    assert_same_outputs(ours, expected, tolerance, "the exported program")
