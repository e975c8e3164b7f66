"""AOTInductor: programs compiled to machine code, in packages that torch loads.

Torch's documentation of AOTInductor uses these private names; there are no public ones.
"""

# pyright: reportPrivateUsage=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from .pytree import tree_unflatten, treespec_loads


def compile_to_package(program: ExportedProgram, path: str, metadata: Mapping[str, str]) -> None:
    """Compile a program for this machine into a package at a path, with strings in its metadata."""
    torch._inductor.aoti_compile_and_package(
        program, package_path=path, inductor_configs={"aot_inductor.metadata": dict(metadata)}
    )


def load_package(path: str) -> tuple[Callable[[list[Tensor]], Any], int, int]:
    """Return a function that runs a compiled program, and how many tensors it accepts and returns.

    The package's own call parses both structures from JSON each time, at 16 us a call.
    """
    model = torch._inductor.aoti_load_package(path)
    run = model.loader.boxed_run
    taken, returned = (treespec_loads(text) for text in model.loader.get_call_spec())

    def run_one(inputs: list[Tensor]) -> Any:
        return run([*inputs])[0]  # the loader empties the list

    def run_all(inputs: list[Tensor]) -> Any:
        return tree_unflatten(run([*inputs]), returned)

    return run_one if returned.is_leaf() else run_all, taken.num_leaves, returned.num_leaves


def compile_in(folder: str, program: ExportedProgram) -> Callable[..., Any]:
    """Compile a program for this machine in a folder, and load it; called like the model."""
    package = torch._inductor.aoti_compile_and_package(program, package_path=f"{folder}/model.pt2")
    return torch._inductor.aoti_load_package(package)


def compile_list(folder: str, program: ExportedProgram) -> Callable[[list[Tensor]], list[Tensor]]:
    """Compile a program, and return it as a function of a list of tensors, which it empties."""
    loaded: Any = compile_in(folder, program)
    return loaded.loader.boxed_run
