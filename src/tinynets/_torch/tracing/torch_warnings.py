"""Suppress warnings and log messages that torch itself causes and a user cannot act on; the call of
`torch.onnx.export` is here too.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.export import ExportedProgram


@contextmanager
def ignored_torch_deprecations() -> Generator[None]:
    """Ignore warnings about deprecated names used inside torch, which only torch can fix."""
    with warnings.catch_warnings():
        # When torch copies a program.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        # When AOTInductor is imported: a DeprecationWarning up to torch 2.14, then a FutureWarning.
        warnings.filterwarnings("ignore", r"`torch\.jit\.script_method` is deprecated")
        yield


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
