"""Weights of other implementations: which checkpoints and prefixes are accepted, how names are changed and
shapes read, and the errors for ints, meta tensors and values that are not finite.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from .._torch.modules.wrappers import strip_prefixes
from ..errors import CheckpointError
from ..state_dict import load_weights, nonfinite
from .base import ImageClassifier

M = TypeVar("M", bound=ImageClassifier)
Renaming = Mapping[str, str | Callable[[re.Match[str]], str]]

# Keys of the state dict in the checkpoints of training scripts.
_NESTS = ("state_dict", "net", "model")
# Their attributes for the net, which a parent module prepends to every name.
_PREFIXES = ("model.", "net.")
_COUNTER = "num_batches_tracked"


class ForeignWeights:
    """A public implementation's state dict under our names, with its own name of each weight.

    Accepts the common forms of a state dict: in a checkpoint under `state_dict`, `net` or `model`, with the
    prefixes of wrappers, with or without the counters of BatchNorm, which older torch did not have.

    Args:
        source: the state dict, or a checkpoint that contains it.
        renaming: regular expression -> replacement, applied in order.

    Raises:
        CheckpointError: it is not a state dict, or a value cannot be a weight; one line, with its own name.
    """

    def __init__(self, source: object, renaming: Renaming) -> None:
        found = _read(source)
        self._own_names: dict[str, str] = {}
        self._tensors: dict[str, Tensor] = {}
        stripped = _strip(found)
        for own, (name, tensor) in zip(found, stripped.items(), strict=True):
            for pattern, replacement in renaming.items():
                name = re.sub(pattern, replacement, name)
            if name in self._tensors:
                raise CheckpointError(f"{self._own_names[name]!r} and {own!r} would both be {name}")
            self._tensors[name], self._own_names[name] = tensor, own
        for name in [name for name in self._tensors if name.endswith(".running_mean")]:
            self._tensors.setdefault(name.removesuffix("running_mean") + _COUNTER, torch.tensor(0))

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def pop(self, name: str) -> Tensor | None:
        """Exclude a weight from the copy, and return it if there is one."""
        return self._tensors.pop(name, None)

    def flatten(self, pattern: str) -> None:
        """Turn 1x1 convolutions whose names match into equivalent linear layers."""
        for name, tensor in self._tensors.items():
            if re.search(pattern, name) and tensor.shape[2:] == (1, 1):
                self._tensors[name] = tensor.flatten(1)

    def count(self, prefix: str) -> int:
        """Count the numbered children of `prefix`."""
        parts = len(prefix.split("."))
        return len({name.split(".")[parts] for name in self if name.startswith(f"{prefix}.")})

    def shape(self, name: str, axes: int) -> torch.Size:
        """Return the shape of a weight, to infer the configuration of a model.

        Raises:
            CheckpointError: there is no such weight, or it has another number of axes.
        """
        if name not in self._tensors:
            some = ", ".join(list(self._own_names.values())[:5]) or "none"
            raise CheckpointError(f"no weight {name!r} among {some}, ...")
        shape = self._tensors[name].shape
        if len(shape) != axes:
            raise CheckpointError(
                f"{self._own_names[name]} has shape {list(shape)}, where {axes} axes are expected"
            )
        return shape

    def build(self, cls: type[M], **arguments: object) -> M:
        """Build a model with these arguments and weights, for as many classes as its head has.

        Raises:
            CheckpointError: there is no such model, or names or shapes do not fit; the message lists them.
        """
        make = cast(Callable[..., M], cls)
        num_classes = self.shape(f"{cls.head_name}.weight", 2)[0]
        try:
            model = make(**arguments, num_classes=num_classes)
        except ValueError as error:
            raise CheckpointError(f"these weights are of no {cls.__name__}: {error}") from None
        load_weights(model, self._tensors, own_names=self._own_names)
        return model


def _read(source: object) -> dict[str, Tensor]:
    """Return the names and tensors of a state dict, or of the one in a checkpoint."""
    if isinstance(source, nn.Module):
        raise CheckpointError(
            f"a state dict is expected, got a {type(source).__name__}: pass its .state_dict()"
        )
    if isinstance(source, str | os.PathLike):
        raise CheckpointError(
            f"a state dict is expected, got the path {os.fspath(source)!r}: pass torch.load(path, "
            "map_location='cpu', weights_only=True), or safetensors.torch.load_file(path)"
        )
    if not isinstance(source, Mapping):
        raise CheckpointError(f"a state dict is expected, got a {type(source).__name__}")
    entries = cast(Mapping[Any, Any], source)
    for nest in _NESTS:
        if isinstance(entries.get(nest), Mapping | nn.Module):
            return _read(entries[nest])
    return {str(name): _checked(str(name), value) for name, value in entries.items()}


def _checked(name: str, value: object) -> Tensor:
    """Return the value if it can be a weight."""
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{name} is no tensor but a {type(value).__name__}: is this a state dict?")
    if not value.dtype.is_floating_point and not name.endswith(_COUNTER):
        raise CheckpointError(
            f"{name} is {value.dtype}, and weights are floats: dequantize or convert it first"
        )
    if value.is_meta or value.layout != torch.strided:
        kind = "on the meta device" if value.is_meta else f"of layout {value.layout}"
        raise CheckpointError(f"{name} is {kind}, so it has no values that could be copied")
    complaint = nonfinite({name: value.detach()})
    if complaint:
        raise CheckpointError(f"the state dict {complaint}")
    return value


def _strip(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes of wrappers and parent modules from all names; keep the order."""
    stripped = strip_prefixes(state_dict)
    for prefix in _PREFIXES:
        if stripped and all(name.startswith(prefix) for name in stripped):
            return _strip({name.removeprefix(prefix): tensor for name, tensor in stripped.items()})
    return stripped
