"""ONNX files: axis names in all shapes, the contract and a checksum of the weights in the metadata, the
errors for a damaged file, and running it; the output names come from `programs.py`.
"""

# onnx, onnxruntime and torch's exporter have no complete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportMissingImports=false, reportUnknownParameterType=false
from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._contract.annotations.axes import Axis, AxisKind
from .._inference.backends import require_packages
from .._inference.onnx_session import array_of, open_session
from .._torch.tracing.onnx_exporter import to_onnx
from ..errors import CheckpointError
from .exported_contract import KEY, TensorSpec
from .loaded_program import LoadedProgram, TensorInfo

if TYPE_CHECKING:
    from .programs import Program

_WEIGHTS = f"{KEY}_weights_sha256"  # the format has no checksum


def require_onnx() -> None:
    """Import the packages for ONNX; raise ModuleNotFoundError if one is missing."""
    require_packages("ONNX files need")


def to_bytes(program: Program) -> bytes:
    """Translate a program to ONNX, with the contract in its metadata and its axis names in all shapes."""
    model = to_onnx(program.exported, [tensor.name for tensor in program.signature.outputs])
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = re.sub(
                    r"\bs\d+\b", lambda found: program.symbols.get(found[0], found[0]), axis.dim_param
                )
    for value, tensor in zip(graph.output, program.signature.outputs, strict=True):
        _name_axes(value, tensor)
    _set(model, KEY, program.signature.to_json())
    _set(model, _WEIGHTS, _digest(model))
    return model.SerializeToString()


def _name_axes(value: Any, tensor: TensorSpec) -> None:
    axes: tuple[Axis, ...] = tensor.spec.axes.axes
    for axis, size in zip(axes, value.type.tensor_type.shape.dim, strict=True):
        if size.dim_param and axis.kind is AxisKind.NAMED:
            size.dim_param = axis.name


def _set(model: Any, key: str, value: str) -> None:
    entry = model.metadata_props.add()
    entry.key, entry.value = key, value


def _digest(model: Any) -> str:
    digest = hashlib.sha256()
    for weight in model.graph.initializer:
        digest.update(weight.name.encode())
        digest.update(weight.raw_data)
    return digest.hexdigest()


def read_onnx(path: Path) -> tuple[Any, str | None]:
    """Return the model in a file, and the text of its contract.

    Raises:
        CheckpointError: the file is truncated or damaged.
        ModuleNotFoundError: a package for ONNX is missing.
    """
    require_onnx()
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError:
        raise CheckpointError(f"{path} is neither an archive of torch nor a whole ONNX file") from None
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    text = metadata.get(KEY)
    if text is not None and metadata.get(_WEIGHTS) != _digest(model):
        raise CheckpointError(f"{path} is damaged: its weights are not those that were exported")
    return model, text


def open_onnx(model: Any) -> LoadedProgram:
    """Load a model into ONNX Runtime, on the CPU."""
    import onnx

    run = open_session(model.SerializeToString())

    def info(value: Any) -> TensorInfo:
        kind = value.type.tensor_type
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
        shape = tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim)
        return TensorInfo(value.name, dtype, shape)

    return LoadedProgram(
        lambda tensors: run([*map(array_of, tensors)]),
        [info(value) for value in model.graph.input],
        [info(v) for v in model.graph.output],
    )
