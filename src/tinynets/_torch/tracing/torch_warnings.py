"""Suppress warnings that torch itself causes and a user cannot act on."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def ignored_torch_deprecations() -> Generator[None]:
    """Ignore warnings about deprecated names used inside torch, which only torch can fix."""
    with warnings.catch_warnings():
        # When torch copies a program.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        # When AOTInductor is imported: a DeprecationWarning up to torch 2.14, then a FutureWarning.
        warnings.filterwarnings("ignore", r"`torch\.jit\.script_method` is deprecated")
        yield
