from __future__ import annotations

import importlib.util
from typing import Any, cast

import torch

from ...._torch.tracing.onnx_exporter import to_onnx
from ... import Level, Skip, Subject, check
from ...measure.compare import Leaf
from ...measure.model_errors import as_failure
from ._shared import assert_same_outputs, export_program, first_paragraph


@check("transforms.onnx", Level.CAPABILITY, slow=True, opt_in=True)
def onnx(subject: Subject, *, tolerance: float = 1e-3) -> None:
    """Exported to ONNX with a dynamic batch, the model gives the same outputs in ONNX Runtime.

    Needs the packages onnx, onnxscript and onnxruntime.

    Why: ONNX takes models to other runtimes and languages.
    Fix: see `transforms.export`; the message names operations that ONNX lacks.
    Declare: with `supports=`, which also turns the check on.
    """
    _needs("onnx", "onnxscript", "onnxruntime")
    import onnxruntime  # pyright: ignore

    program = export_program(subject)
    with as_failure("torch.onnx.export raised", lambda error: first_paragraph(_root(error))):
        model = to_onnx(program)
    session: Any = onnxruntime.InferenceSession(model.SerializeToString())  # pyright: ignore
    other = subject.batch(3)
    expected = subject.outputs(other)
    names = [entry.name for entry in session.get_inputs()]
    feeds = dict(zip(names, (tensor.detach().numpy() for tensor in other.tensors), strict=True))
    values = cast("list[Any]", session.run(None, feeds))
    ours = [Leaf(leaf.path, torch.as_tensor(v)) for leaf, v in zip(expected, values, strict=True)]
    assert_same_outputs(ours, expected, tolerance, "ONNX Runtime")


def _needs(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise Skip(f"needs {', '.join(missing)}: pip install {' '.join(missing)}")


def _root(error: BaseException) -> BaseException:
    """Return the exception at the start of the chain."""
    return error if error.__cause__ is None else _root(error.__cause__)
