"""Warnings that torch gives about itself."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def torch_about_itself() -> Generator[None]:
    """Ignore deprecations of torch that torch itself has not followed yet: nobody else can."""
    with warnings.catch_warnings():
        # When it copies a program.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        # When AOTInductor is imported.
        warnings.filterwarnings("ignore", r"`torch\.jit\.script_method` is deprecated", DeprecationWarning)
        yield
