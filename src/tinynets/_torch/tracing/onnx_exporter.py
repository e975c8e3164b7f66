"""The call of `torch.onnx.export`, for a program, without torch's messages about torchvision."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch.export import ExportedProgram

# The logger of `torch.onnx.export` when it looks for operators of torchvision, whether a model has any or
# not. If torch renames the module, the messages appear again.
_ONNX_REGISTRY = "torch.onnx._internal.exporter._registration"


def to_onnx(program: ExportedProgram, output_names: Sequence[str] | None = None) -> Any:
    """Translate a program to ONNX, without a log message for each missing operator of torchvision.

    Returns:
        The `onnx.ModelProto`.
    """

    def is_other(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    log = logging.getLogger(_ONNX_REGISTRY)
    log.addFilter(is_other)
    try:
        onnx: Any = torch.onnx  # its functions have no complete types
        return onnx.export(program, dynamo=True, verbose=False, output_names=output_names).model_proto
    finally:
        log.removeFilter(is_other)
