"""Deprecation warnings that torch causes itself."""

from __future__ import annotations

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
