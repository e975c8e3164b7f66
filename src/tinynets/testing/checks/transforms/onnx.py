from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any, cast

import torch

from ... import Level, Skip, Subject, check
from ...measure.compare import Leaf
from ...measure.model_errors import as_failure
from ._shared import assert_same_outputs, export_program, first_paragraph


@check("transforms.onnx", Level.CAPABILITY, slow=True, opt_in=True)
def onnx(subject: Subject, *, tolerance: float = 1e-3) -> None:
    """The model as ONNX, with a dynamic batch, gives the same values in ONNX Runtime.

    Needs the packages onnx, onnxscript and onnxruntime.

    Why: it is how models get into other run times and languages.
    Fix: see `transforms.export`; an operation that ONNX lacks is named.
    Declare: by `supports=`, which also turns the check on.
    """
    _needs("onnx", "onnxscript", "onnxruntime")
    import onnxruntime  # pyright: ignore

    program = export_program(subject)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        with as_failure("torch.onnx.export raised", lambda error: first_paragraph(_root(error))):
            torch.onnx.export(program, f=path, dynamo=True, verbose=False)  # pyright: ignore[reportUnknownMemberType]
        session: Any = onnxruntime.InferenceSession(path.read_bytes())  # pyright: ignore
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
    """Return the exception that started it."""
    return error if error.__cause__ is None else _root(error.__cause__)
