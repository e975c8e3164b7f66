"""Checkpoints that know their model: safetensors, with the class and its arguments in the header.

Reading a file runs no code from it: the header is JSON, the class is one that the caller passes, and names
and shapes are compared before anything is allocated.
"""

from __future__ import annotations

import inspect
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import nn

from ._torch.modules.wrappers import unwrapped
from ._version import __version__
from .atomic_write import write_atomically
from .errors import CheckpointError
from .state_dict import check_fit, first_names_of, share_again, tensors_of, with_shared, without_shared

M = TypeVar("M", bound=nn.Module)

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel that images are normalised with: `(image - mean) / std`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(number) for number in self.mean))
        object.__setattr__(self, "std", tuple(float(number) for number in self.std))
        if len(self.mean) != len(self.std) or not self.std or min(self.std) <= 0:
            raise ValueError(
                f"mean and std need one number per channel, std above 0, got {self.mean}, {self.std}"
            )


@dataclass(frozen=True)
class Header:
    """Header of a checkpoint.

    Attributes:
        class_name: name of the model's class.
        config: constructor arguments of the model.
        library_version: version of tinynets that wrote the file.
        normalization: normalisation of the images that the model expects, if it was set.
    """

    class_name: str
    config: dict[str, Any]
    library_version: str
    normalization: Normalization | None = None


def config_of(module: nn.Module) -> dict[str, Any]:
    """Return the constructor arguments of a module, which keeps each as an attribute of the same name.

    `generator` is left out: it says where the initial weights came from, not what the model is.

    Raises:
        CheckpointError: an argument is not kept as an attribute.
    """
    names = [name for name in inspect.signature(type(module)).parameters if name != "generator"]
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        raise CheckpointError(
            f"{type(module).__name__} cannot be rebuilt from its attributes: its constructor "
            f"takes {missing[0]!r}, so keep it as self.{missing[0]}"
        )
    return {name: getattr(module, name) for name in names}


def save(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the weights, constructor arguments and normalisation of a model to a safetensors file.

    The file appears whole or not at all: it is written beside its place and then renamed. A parameter that
    two modules share is written once.

    Raises:
        CheckpointError: an argument of the constructor is not kept as an attribute, or is not plain data.
    """
    module = unwrapped(module)
    try:
        config = json.dumps(config_of(module), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the arguments of {type(module).__name__} must be plain data to be saved: {error}"
        ) from None
    normalization: Normalization | None = getattr(module, "normalization", None)
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "library": "tinynets",
        "library_version": __version__,
        "class": type(module).__name__,
        "config": config,
    }
    if normalization is not None:
        metadata["mean"] = json.dumps(normalization.mean)
        metadata["std"] = json.dumps(normalization.std)
    # safetensors refuses strided (channels_last) and shared memory, so each tensor gets its own.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in without_shared(module.state_dict()).items()
    }
    write_atomically(Path(path), _in_order(safetensors_bytes(tensors, metadata)))


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read the header of a checkpoint, without the weights.

    Raises:
        CheckpointError: the file was not written by `save`, is damaged, or is newer than this library.
        FileNotFoundError: there is no such file.
    """
    with _open(path) as file:
        metadata: dict[str, str] = file.metadata() or {}
    if metadata.get("library") != "tinynets" or not metadata.get("format_version", "").isdecimal():
        raise CheckpointError(
            f"{path} has no tinynets header: it holds weights, but not of which model. Build the model, then "
            "model.load_state_dict(safetensors.torch.load_file(path))"
        )
    if int(metadata["format_version"]) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was written by tinynets {metadata.get('library_version')} in format "
            f"{metadata['format_version']}; this is {__version__}, which reads up to "
            f"{FORMAT_VERSION}. Upgrade tinynets"
        )
    try:
        config: dict[str, Any] = dict(json.loads(metadata["config"]))
        normalization = None
        if "mean" in metadata:
            normalization = Normalization(json.loads(metadata["mean"]), json.loads(metadata["std"]))
        return Header(metadata["class"], config, metadata.get("library_version", "?"), normalization)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the header of {path} is damaged: {error!r}") from None


def load(cls: type[M], path: str | os.PathLike[str]) -> M:
    """Rebuild a model of class `cls` from a file that `save` wrote, on the CPU and in eval mode.

    Raises:
        CheckpointError: the file is damaged, newer than this library, of another class, or does not fit.
        FileNotFoundError: there is no such file.
    """
    header = read_header(path)
    if header.class_name != cls.__name__:
        raise CheckpointError(f"{path} holds a {header.class_name}, not a {cls.__name__}")
    try:
        with torch.device("meta"):  # nothing is allocated before names and shapes are known to fit
            model = cls(**header.config)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise CheckpointError(f"{path} asks for a {cls.__name__} that cannot be built: {error}") from None
    with _open(path) as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - not a dict
        check_fit(model, shapes, str(path))
        tensors = {name: file.get_tensor(name) for name in shapes}
    if any(name not in tensors for name, _ in tensors_of(model)):
        # A buffer that is computed, such as a table of positions, is not in the file.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # pyright: ignore[reportUnknownMemberType]
            model = cls(**header.config)
    first_names = first_names_of(model)
    model.load_state_dict(with_shared(model, tensors), assign=True)
    share_again(model, first_names)
    if header.normalization is not None:
        setattr(model, "normalization", header.normalization)  # noqa: B010 - not every module declares it
    return model.eval()


def _open(path: str | os.PathLike[str]) -> Any:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file at {path}")
    try:
        return safe_open(str(path), framework="pt", device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no whole safetensors file: {error}") from None


def _in_order(content: bytes) -> bytes:
    """Sort the header, whose entries safetensors writes in random order: equal models give equal files."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the format wants the tensors aligned
    return len(header).to_bytes(8, "little") + header + content[start:]
