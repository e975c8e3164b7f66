from __future__ import annotations

from ... import Level, Subject, check
from ...measure.model_errors import as_failure
from ._shared import assert_same_outputs, export_program, first_paragraph, seeded_outputs


@check("transforms.export", Level.SHOULD, slow=True)
def exported(subject: Subject, *, tolerance: float = 1e-4) -> None:
    """`torch.export` with a dynamic batch yields a program with the same outputs for another batch size.

    Why: serving, mobile run times, quantisation and ONNX start from an exported program.
    Fix: the message has the line, or the size that became a constant; take sizes from tensors in forward.
    Declare: an exemption.
    """
    program = export_program(subject)
    other = subject.batch(3)
    expected = subject.outputs(other)
    with as_failure("the exported program does not take a batch of 3:", first_paragraph):
        ours = seeded_outputs(subject, lambda: program.module()(*other.args, **other.kwargs))
    assert_same_outputs(ours, expected, tolerance, "the exported program")
