"""`tn.explain`: its arguments and defaults (`depth=1`, `on="fake"`, `modes`, `named`), and the models that it
refuses: scripted ones, and those with lazy layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from ..inputs.model_argument import require_module
from .explanation import Explanation


def explain(
    model: nn.Module,
    *inputs: Any,
    depth: int | None = 1,
    on: Literal["fake", "real"] = "fake",
    modes: Sequence[Literal["train", "eval"]] | None = None,
    named: Mapping[str, Any] | None = None,
) -> Explanation:
    """Show a forward pass line by line, with the shape that every line computes.

    A private copy of the model runs on fake tensors, which have shapes but no values: no weights are read,
    nothing is computed, no random numbers are drawn, and the model does not change. A model that needs values
    runs on real tensors (still as a copy), and the explanation says so. Hooks of the user do not run.

    Args:
        model: any `nn.Module`, on any device.
        inputs: the arguments of `forward`: tensors, of which only shape and dtype matter; shapes such as
            `"batch 3 32 32"`, `"batch=8 tokens=77 64"` or `"int64[batch 77]"`; or nothing if `forward` is
            annotated.
        depth: number of levels of modules to show, the model's own lines being the first; None for all. All
            levels are recorded.
        on: `"real"` runs the model on real tensors from the start.
        modes: the modes to explain, with the lines that differ marked; None for the current one.
        named: named arguments of `forward`, in the same forms.

    Raises:
        TypeError: the model is not a module, or is scripted or lazy, or the inputs have no shape.
        ValueError: unknown mode or method.

    Examples:
        >>> explanation = tn.explain(nn.Linear(784, 10), "batch 784")
        >>> explanation.lines[0].values[0].shape
        ('batch', '10')
        >>> explanation.run.macs.formula
        '7,840·batch'
    """
    require_module(model, "explain")
    scripted = [m for m in model.modules() if isinstance(m, torch.jit.ScriptModule)]
    if scripted:
        kind = type(scripted[0]).__name__
        raise TypeError(f"{kind} is scripted: it has no lines of Python; pass the original module")
    if any(isinstance(p, nn.UninitializedParameter) for p in model.parameters()):
        raise TypeError("the model has lazy layers: call it once, so that its parameters have shapes")
    if on not in ("fake", "real"):
        raise ValueError(f'on is "fake" or "real", got {on!r}')
    for mode in modes or ():
        if mode not in ("train", "eval"):
            raise ValueError(f'modes are "train" and "eval", got {mode!r}')
    from .recording.trace import explained  # fake tensors and symbolic sizes cost a second to import

    runs = explained(model, inputs, named or {}, on, modes or ("as is",))
    return Explanation(runs[0].frame.module, runs, depth=depth)
