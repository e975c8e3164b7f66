"""Weights of other implementations: rename keys, and infer the constructor arguments from shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .._torch.modules.wrappers import strip_prefixes
from ..errors import CheckpointError


def rename_keys(
    state_dict: Mapping[str, Tensor], patterns: Mapping[str, str | Callable[[re.Match[str]], str]]
) -> dict[str, Tensor]:
    """Rename a public implementation's keys: each regular expression, in turn, is replaced by its value.

    Prefixes that wrappers add (`module.`, `_orig_mod.`) go first.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in strip_prefixes(state_dict).items():
        for pattern, replacement in patterns.items():
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def count_blocks(state_dict: Mapping[str, Tensor], prefix: str) -> int:
    """Count the numbered children of `prefix` in a state dict."""
    parts = len(prefix.split("."))
    return len({name.split(".")[parts] for name in state_dict if name.startswith(f"{prefix}.")})


def weight_shape(state_dict: Mapping[str, Tensor], name: str) -> torch.Size:
    """Return the shape of a weight that tells how a model was configured.

    Raises:
        CheckpointError: there is no such weight.
    """
    if name not in state_dict:
        raise CheckpointError(f"no weight {name!r} among {', '.join(list(state_dict)[:5]) or 'none'}, ...")
    return state_dict[name].shape
