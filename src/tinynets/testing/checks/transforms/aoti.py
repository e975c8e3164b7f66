from __future__ import annotations

import shutil
import tempfile

from ...._torch.tracing.inductor import compile_in
from ... import Level, Skip, Subject, check
from ...measure.compare import detached
from ...measure.model_errors import as_failure
from ._shared import assert_same_outputs, export_program, first_paragraph, fresh_compiler


@check("transforms.aoti", Level.CAPABILITY, slow=True, opt_in=True)
def aoti(subject: Subject, *, tolerance: float = 1e-3) -> None:
    """The model compiled ahead of time by AOTInductor, with a dynamic batch, gives the same outputs.

    Needs a C++ compiler, and takes a minute.

    Why: the package runs without Python.
    Fix: see `transforms.export`.
    Declare: with `supports=`, which also turns the check on.
    """
    if not (shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")):
        raise Skip("needs a C++ compiler: none of g++, clang++ and cl is on the path")
    program = export_program(subject)
    other = subject.batch(3)
    expected = subject.outputs(other)
    failing = as_failure("AOTInductor raised", first_paragraph)
    with tempfile.TemporaryDirectory() as folder, fresh_compiler(), failing:
        package = compile_in(folder, program)
        ours = detached(package(*other.args, **other.kwargs))
    assert_same_outputs(ours, expected, tolerance, "AOTInductor")
