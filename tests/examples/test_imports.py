"""What the scripts import: plotting takes half a second, in every process of a group, and is for those that draw."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from .conftest import EXAMPLES

DRAWS_NOTHING = (
    "train_distributed",
    "train_accelerate",
    "train_fabric",
    "tensor_parallel",
    "launch",
    "serve",
)


def imported(module: str) -> Iterator[str]:
    """Yield what a file of `examples/` imports as it is imported itself, not in a function."""
    left: list[ast.AST] = [ast.parse((EXAMPLES / f"{module}.py").read_text())]
    while left:
        node = left.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            left += ast.iter_child_nodes(node)


def reached(script: str) -> set[str]:
    """Return the top-level names of all that a script imports, also through other files of `examples/`."""
    found, left = {script}, [script]
    while left:
        module = left.pop()
        if (EXAMPLES / f"{module}.py").exists():
            new = {name.partition(".")[0] for name in imported(module)} - found
            found |= new
            left += new
    return found


@pytest.mark.parametrize("script", DRAWS_NOTHING)
def test_what_draws_nothing_imports_no_plotting(script: str) -> None:
    assert "torch" in reached(script)
    assert reached(script).isdisjoint({"drawing", "matplotlib", "rich"})


def test_what_draws_is_seen_through_other_files() -> None:
    assert {"loop", "drawing", "matplotlib", "rich"} <= reached("train_digits")
