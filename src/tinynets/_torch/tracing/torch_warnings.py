"""Warnings that torch causes itself, and that tell a user nothing."""

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
    """Ignore uses of deprecated names inside torch, which only torch can mend."""
    with warnings.catch_warnings():
        # When it copies a program.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        # When AOTInductor is imported: a DeprecationWarning up to torch 2.14, then a FutureWarning.
        warnings.filterwarnings("ignore", r"`torch\.jit\.script_method` is deprecated")
        yield


# What `torch.onnx.export` logs when it looks for operators of torchvision, whether a model has any or not. If
# the module gets another name, the messages are seen again.
_ONNX_REGISTRY = "torch.onnx._internal.exporter._registration"


def to_onnx(program: ExportedProgram, output_names: Sequence[str] | None = None) -> Any:
    """Translate a program to ONNX, without a word for each operator of torchvision that is not installed.

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
