"""AOTInductor: programs compiled to machine code, in packages that torch loads.

Torch's documentation of AOTInductor uses these very names; there are no public ones.
"""

# pyright: reportPrivateUsage=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.export import ExportedProgram

from .pytree import treespec_loads


def compile_to_package(program: ExportedProgram, path: str, metadata: Mapping[str, str]) -> None:
    """Compile a program for this machine into a package at a path, with texts in its metadata."""
    torch._inductor.aoti_compile_and_package(
        program, package_path=path, inductor_configs={"aot_inductor.metadata": dict(metadata)}
    )


def load_package(path: str) -> tuple[Any, int, int]:
    """Return a compiled program, and how many tensors it takes and returns."""
    model = torch._inductor.aoti_load_package(path)
    taken, returned = (treespec_loads(text).num_leaves for text in model.loader.get_call_spec())
    return model, taken, returned
