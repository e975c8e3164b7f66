"""The wrappers of `torch.compile`, `DataParallel` and `DistributedDataParallel`: the model inside, and the
prefixes `_orig_mod.` and `module.`, which are removed from names of weights.

They keep the model as `_orig_mod` and `module`, and prefix all names in their state dicts with these.
If torch renames them, saving a wrapped model raises `CheckpointError`, and so does loading its state dict.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

_PREFIXES = ("_orig_mod.", "module.")


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the model inside wrappers, or the module itself if there are none."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and type(module).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = getattr(module, "module", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def strip_prefixes(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes that the wrappers add, while all names have the same one."""
    stripped = dict(state_dict)
    while stripped:
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in stripped)), None)
        if prefix is None:
            break
        stripped = {name.removeprefix(prefix): tensor for name, tensor in stripped.items()}
    return stripped
