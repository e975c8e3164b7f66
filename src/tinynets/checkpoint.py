"""Weights in a file that knows its model: safetensors, with the class and its arguments in the header.

Reading a file runs no code of it: the header is JSON, the class is looked up by name among classes that the
caller knows, and names and shapes are compared before anything is allocated.
"""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from .errors import CheckpointError

M = TypeVar("M", bound=nn.Module)

FORMAT_VERSION = 1
# What torch.compile and DataParallel put before each name.
WRAPPER_PREFIXES = ("_orig_mod.", "module.")


@dataclass(frozen=True)
class Normalization:
    """What the images of a model are normalised with: `(image - mean) / std`, one number per channel."""

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
    """What a file says about its weights.

    Attributes:
        class_name: name of the model's class.
        config: constructor arguments of the model.
        library_version: version of tinynets that wrote the file.
        normalization: what the images were normalised with, if it was said.
    """

    class_name: str
    config: dict[str, Any]
    library_version: str
    normalization: Normalization | None = None


def config_of(module: nn.Module) -> dict[str, Any]:
    """Return the constructor arguments of a module that keeps each as an attribute of the same name.

    `generator` is left out: it is where the initial weights came from, not what the model is.

    Raises:
        CheckpointError: an argument is not kept.
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
        "library_version": library_version(),
        "class": type(module).__name__,
        "config": config,
    }
    if normalization is not None:
        metadata["mean"] = json.dumps(normalization.mean)
        metadata["std"] = json.dumps(normalization.std)
    # safetensors refuses strided (channels_last) and shared memory, so each tensor gets its own.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in _unshared(module.state_dict()).items()
    }
    write_atomically(Path(path), _in_order(safetensors_bytes(tensors, metadata)))


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what a file says about its weights, without reading them.

    Raises:
        CheckpointError: it is no safetensors file, was not written by `save`, or is newer than this library.
        FileNotFoundError: there is no such file.
    """
    with _opened(path) as file:
        metadata: dict[str, str] = file.metadata() or {}
    if metadata.get("library") != "tinynets" or not metadata.get("format_version", "").isdecimal():
        raise CheckpointError(
            f"{path} has no tinynets header: it holds weights, but not of which model. Build the model, then "
            "model.load_state_dict(safetensors.torch.load_file(path))"
        )
    if int(metadata["format_version"]) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was written by tinynets {metadata.get('library_version')} in format "
            f"{metadata['format_version']}; this is {library_version()}, which reads up to "
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
    with _opened(path) as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - it is no dict
        _check_fit(model, shapes, str(path))
        tensors = {name: file.get_tensor(name) for name in shapes}
    if any(name not in tensors for name, _ in _tensors_of(model)):
        # Something is computed rather than stored, such as a table of positions: build it.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # pyright: ignore[reportUnknownMemberType]
            model = cls(**header.config)
    first_names = _first_names(model)
    model.load_state_dict(_with_shared(model, tensors), assign=True)
    _share_again(model, first_names)
    if header.normalization is not None:
        setattr(model, "normalization", header.normalization)  # noqa: B010 - not every module declares it
    return model.eval()


def load_weights(module: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Copy weights into a model, whose names and shapes must all fit; wrappers' prefixes are taken off.

    Raises:
        CheckpointError: names or shapes do not fit; the message lists them.
    """
    tensors = strip_prefixes(state_dict)
    _check_fit(module, {name: list(tensor.shape) for name, tensor in tensors.items()}, "the state dict")
    module.load_state_dict(_with_shared(module, tensors))


def strip_prefixes(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefixes that `torch.compile` and `DataParallel` put before every name."""
    stripped = dict(state_dict)
    while stripped:
        prefix = next((p for p in WRAPPER_PREFIXES if all(name.startswith(p) for name in stripped)), None)
        if prefix is None:
            break
        stripped = {name.removeprefix(prefix): tensor for name, tensor in stripped.items()}
    return stripped


def _check_fit(module: nn.Module, shapes: Mapping[str, list[int]], source: str) -> None:
    """Compare the names and shapes of a model with those of a file."""
    expected = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    first_names = _first_names(module)
    required = {name for name in expected if first_names.get(name, name) == name}
    complaints = [f"missing {name} {expected[name]}" for name in expected if name in required - shapes.keys()]
    complaints += [f"unexpected {name} {shapes[name]}" for name in shapes if name not in expected]
    complaints += [
        f"misshapen {name}: {shapes[name]} where {expected[name]} is expected"
        for name in expected
        if name in shapes and shapes[name] != expected[name]
    ]
    if complaints:
        rest = f"\n  ... and {len(complaints) - 8} more" if len(complaints) > 8 else ""
        raise CheckpointError(
            f"{source} does not fit {type(module).__name__}:\n  " + "\n  ".join(complaints[:8]) + rest
        )


def _first_names(module: nn.Module) -> dict[str, str]:
    """Map every name of a shared parameter or buffer to the first name of the same tensor."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in _tensors_of(module)}


def _tensors_of(module: nn.Module) -> list[tuple[str, Tensor]]:
    parameters = list(module.named_parameters(remove_duplicate=False))
    return [*parameters, *module.named_buffers(remove_duplicate=False)]


def _unshared(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep the first name of every tensor that has several."""
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in state_dict.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (name,)
        first.setdefault(key, name)
    kept = set(first.values())
    return {name: tensor for name, tensor in state_dict.items() if name in kept}


def _with_shared(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a tensor that is stored once back to all of its names."""
    shared = {
        name: tensors[first]
        for name, first in _first_names(module).items()
        if name not in tensors and first in tensors
    }
    return {**tensors, **shared}


def _share_again(module: nn.Module, first_names: Mapping[str, str]) -> None:
    """Make every further name of a shared tensor mean the first one's tensor again."""
    tensors = dict(_tensors_of(module))
    for name, first in first_names.items():
        if name != first:
            owner, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(owner), attribute, tensors[first])


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the model inside `torch.compile`'s or `DataParallel`'s wrapper."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and type(module).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = getattr(module, "module", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def _opened(path: str | os.PathLike[str]) -> Any:
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


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: beside its place, and then renamed."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's own mode would hide the file from everyone else
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def library_version() -> str:
    """Return the version of this library."""
    from ._version import __version__

    return __version__
