"""The cause of a failed gradient check: a module that is never called, runs under `no_grad` or is detached,
the operation and line of the first NaN, or of a result that is changed in place.
"""

from __future__ import annotations

import re
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..._torch.modules.hook_recorder import forward_hooks
from ..._torch.modules.layers import BatchNorm
from ..._torch.modules.module_tables import named_modules
from ..._torch.modules.source_files import TORCH_FOLDER
from ..._torch.tracing import pytree
from ...errors import Failure, Skip
from ..measure.training import backward, descend
from ..subject import Subject


def owner_of(model: nn.Module, name: str) -> str:
    """Return the module of a parameter, in words."""
    path = name.rpartition(".")[0]
    kind = type(model.get_submodule(path)).__name__
    return f"`{path}` ({kind})" if path else kind


@dataclass
class _Returned:
    """The last output of a module: whether it was in the graph, and whether it received a gradient."""

    recorded: bool
    attached: bool
    checkpointed: bool = False
    peak: float | None = None


def _in_checkpoint() -> bool:
    """Return whether a reentrant checkpoint is running, which turns gradients off."""
    return any(
        frame.f_code.co_qualname == "CheckpointFunction.forward" for frame, _ in traceback.walk_stack(None)
    )


def _returned(subject: Subject) -> dict[str, _Returned]:
    """Run a training pass and return the last output of each module, in the order in which calls ended."""
    found: dict[str, _Returned] = {}

    def after(path: str, module: nn.Module, output: Any) -> None:
        tensors = [t for t in pytree.tree_leaves(output) if isinstance(t, Tensor) and t.requires_grad]
        returned = _Returned(
            torch.is_grad_enabled(), bool(tensors), not torch.is_grad_enabled() and _in_checkpoint()
        )
        found.pop(path, None)
        found[path] = returned

        def arrived(gradient: Tensor) -> None:
            peak = float(gradient.abs().max()) if gradient.numel() else 0.0
            returned.peak = max(returned.peak or 0.0, peak)

        for tensor in tensors:
            tensor.register_hook(arrived)  # pyright: ignore[reportUnknownMemberType]

    with forward_hooks(subject.model, after=after):
        backward(subject)
    return found


def reasons_for_none(subject: Subject, names: list[str]) -> list[str]:
    """Say for the module of each parameter why there is no gradient."""
    found = _returned(subject)
    reasons: dict[str, None] = {}
    for name in names:
        path, owner = name.rpartition(".")[0], owner_of(subject.model, name)
        last = found.get(path)
        if last is None:
            reason = "is never called"
        elif last.checkpointed:
            reason = (
                "is called by checkpoint(use_reentrant=True), which gives no gradient where no input needs"
                " one: use_reentrant=False"
            )
        elif not last.recorded:
            reason = "is called under torch.no_grad()"
        elif not last.attached:
            reason = "is called, but what it returns is cut from the graph"
        elif last.peak is None:
            reason = "is called, but what it returns is not used, or is detached later on"
        else:
            reason = f"is called, but does not use `{name.rpartition('.')[2]}`, or detaches it"
        reasons[f"{owner} {reason}"] = None
    return list(reasons)


def reason_for_zero(subject: Subject, names: list[str]) -> str:
    """Say after which module gradients become zero, after a training step; `""` if unknown."""
    try:
        backward(subject)
        descend(subject.model)
        found = _returned(subject)
    except (Failure, Skip):
        return ""
    owners = {name.rpartition(".")[0] for name in names}
    silent = [path for path, last in found.items() if last.peak == 0 and path in owners]
    if not silent:
        return ""
    owner = owner_of(subject.model, f"{silent[-1]}.")
    return f"what follows {owner} is constant: its output gets a gradient of 0"


def fewest_normalised(subject: Subject) -> tuple[str, int]:
    """Return the batch norm that sees the fewest values per channel in training, and their number.

    The path is `""` if there is none.
    """
    found: list[tuple[int, str]] = []

    def before(path: str, module: nn.Module, args: tuple[Tensor, ...], kwargs: object) -> None:
        found.append((args[0].numel() // max(args[0].shape[1], 1), path))

    norms = [(path, module) for path, module in named_modules(subject.model) if isinstance(module, BatchNorm)]
    with suppress(Failure), forward_hooks(norms, before=before):
        subject.run(subject.batch(training=True), training=True)
    values, path = min(found, default=(0, ""))
    return path, values


def first_nan(subject: Subject) -> str:
    """Say which operation returns the first NaN in the backward pass, and which line called it."""
    message, line = _anomaly(subject)
    operation = re.search(r"Function '(\w+?)(?:Backward)?\d*' returned nan", message)
    return f"the gradient of {operation[1]} is the first NaN{line}" if operation else ""


def changed_in_place(subject: Subject) -> str:
    """Say which result is modified in place although the backward pass needs it; `""` if none is."""
    message, line = _anomaly(subject)
    operation = re.search(r"which is output \d+ of (\w+?)(?:Backward)?\d*,", message)
    if operation is None or "inplace" not in message:
        return ""
    return f"the result of {operation[1]} is changed in place, and its gradient needs it{line}"


def _anomaly(subject: Subject) -> tuple[str, str]:
    """Return what the backward pass raises under anomaly detection, and the line of the operation."""
    with warnings.catch_warnings(record=True) as caught, torch.autograd.detect_anomaly():
        warnings.simplefilter("always")
        try:
            backward(subject)
        except Failure as failure:
            message = failure.what
        else:
            return "", ""
    text = "".join(str(warning.message) for warning in caught)
    frames = re.findall(r'File "([^"]+)", line (\d+), in \w+\n\s+(.+)', text)
    own = [f for f in frames if TORCH_FOLDER not in f[0] and "/tinynets/testing/" not in f[0]]
    return message, f": {own[-1][0]}:{own[-1][1]}: {own[-1][2].strip()}" if own else ""
