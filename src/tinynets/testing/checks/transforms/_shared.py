"""Compiling and exporting the model, comparing the outputs, and quoting torch's errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...._torch.modules.source_files import TORCH_FOLDER
from ...._torch.state.random_states import seed_everything
from ...._torch.tracing import pytree
from ....inputs.arguments import Arguments
from ... import Subject
from ...measure.compare import Leaf, detached, worst
from ...measure.model_errors import as_failure, short


@contextmanager
def fresh_compiler() -> Generator[None]:
    """Reset the compiler before and after the block, so that one model does not affect the next."""
    torch.compiler.reset()
    try:
        yield
    finally:
        torch.compiler.reset()


def export_program(subject: Subject) -> torch.export.ExportedProgram:
    """Export the model in eval mode, with a dynamic batch axis for every input that has one."""
    batch = subject.batch()
    subject.model.eval()
    dynamic = _dynamic_shapes(subject.model, batch) if batch.size is not None else None
    with as_failure("torch.export raised", first_paragraph, user_code), torch.no_grad():
        return torch.export.export(
            subject.model, batch.args, batch.kwargs, dynamic_shapes=dynamic, strict=False
        )


def _dynamic_shapes(model: nn.Module, batch: Arguments) -> dict[str, Any]:
    """Return `dynamic_shapes` for `torch.export`: the dynamic axes of tensors, by parameter of forward."""
    dimension = torch.export.Dim("batch", min=1)
    axes = iter(batch.axes)

    def spec(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return None
        axis = next(axes)
        return None if axis is None else {axis: dimension}

    args, kwargs = pytree.tree_map(spec, (batch.args, batch.kwargs))
    return inspect.signature(model.forward).bind(*args, **kwargs).arguments


def traced_outputs(subject: Subject, model: Callable[..., Any], batch: Arguments) -> list[Leaf]:
    """Call a compiled model in eval mode; errors of the compiler become a `Failure`."""
    subject.model.eval()
    with as_failure("torch.compile raised", first_paragraph, user_code):
        return seeded_outputs(subject, lambda: model(*batch.args, **batch.kwargs))


def seeded_outputs(subject: Subject, function: Callable[[], Any]) -> list[Leaf]:
    """Call a function after seeding, without gradients."""
    seed_everything(subject.seed)
    with torch.no_grad():
        return detached(function())


def assert_same_outputs(ours: list[Leaf], expected: list[Leaf], tolerance: float, who: str) -> None:
    """Raise a `Failure` if the outputs for a batch of three differ by more than the tolerance."""
    found = worst(ours, expected)
    if found is not None and found.error > tolerance:
        raise found.failure(f"{who} gives another output for a batch of 3", tolerance)


def first_paragraph(error: BaseException) -> str:
    """Return the first paragraph of a message: torch appends stacks, links and its own settings."""
    text = " ".join(str(error).strip().partition("\n\n")[0].split())
    return short(error, text.replace('For more information, run with TORCH_LOGS="+dynamic". - ', ""))


def user_code(error: BaseException) -> str:
    """Return the innermost line of the user's code in a message of the compiler or in its traceback."""
    lines = [line.strip() for line in str(error).splitlines()]
    frames = [i for i, line in enumerate(lines) if line.startswith("File ") and TORCH_FOLDER not in line]
    return f"{lines[frames[-1]]}: {lines[frames[-1] + 1]}" if frames and frames[-1] + 1 < len(lines) else ""
