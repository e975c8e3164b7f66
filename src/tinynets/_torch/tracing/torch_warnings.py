"""Warnings that torch causes itself, and that tell a user nothing."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager


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


@contextmanager
def no_word_of_torchvision() -> Generator[None]:
    """Keep torch's ONNX exporter from saying that torchvision is not installed, once for each operator."""

    def is_other(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    log = logging.getLogger(_ONNX_REGISTRY)
    log.addFilter(is_other)
    try:
        yield
    finally:
        log.removeFilter(is_other)
