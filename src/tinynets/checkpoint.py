"""`model.save` and `load`: what is saved, how a model is rebuilt and compared with its file,
`allow_nonfinite`, buffers that the constructor computes, and files of 0.1.0.

Reading a file does not run code from it: the header is JSON, the caller passes the class, and names and
shapes are compared before anything is allocated. The SHA-256 in the header detects damage; it detects
tampering only if the digest is also kept elsewhere.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ._torch.modules.without_values import WithoutValues
from ._torch.modules.wrappers import unwrapped
from ._version import __version__
from .atomic_write import write_atomically
from .checkpoint_header import Header as Header
from .checkpoint_header import Normalization as Normalization
from .checkpoint_header import parse_header
from .errors import CheckpointError
from .state_dict import (
    computed_buffers,
    first_names_of,
    misfits,
    mistyped,
    nonfinite,
    set_tensor,
    share_again,
    with_shared,
    without_shared,
)
from .weight_file import WeightFile, digest_of, encode, read_weight_file, refusal

M = TypeVar("M", bound=nn.Module)

_MOST_MISFITS = 3


@dataclass(frozen=True)
class Checkpoint:
    """A file that was read, and verified if it has a digest."""

    file: WeightFile
    header: Header


def config_of(module: nn.Module) -> dict[str, Any]:
    """Return the constructor arguments of a module, which keeps each as an attribute of the same name.

    `generator` is left out: it determines the initial weights, not the architecture.

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

    The file is written atomically: to a temporary file in the same folder, which is then renamed. A parameter
    that two modules share is written once. `load` recomputes buffers that are not in the state dict; their
    dtypes are kept.

    Raises:
        CheckpointError: an argument of the constructor is not kept as an attribute, or is not plain data, or
            the normalisation does not have one number per channel.
        FileNotFoundError, IsADirectoryError: the folder of the path does not exist, or the path is a folder.
    """
    module = unwrapped(module)
    state_dict = module.state_dict()
    computed = computed_buffers(module, state_dict)
    normalization = getattr(module, "normalization", None)  # may be a layer in a user's class
    header = Header(
        class_name=type(module).__name__,
        config=config_of(module),
        library_version=__version__,
        normalization=normalization if isinstance(normalization, Normalization) else None,
        computed_buffers={name: buffer.dtype for name, buffer in computed.items()},
        computed_sha256=digest_of(computed) if computed else None,
    )
    complaint = _misfit_of(header.normalization, module)
    if complaint:
        raise CheckpointError(complaint)
    try:
        metadata = header.to_metadata()
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the arguments of {header.class_name} must be plain data to be saved: {error}"
        ) from None
    # safetensors rejects strided (channels_last) and shared memory, so each tensor is copied.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in without_shared(state_dict).items()
    }
    write_atomically(Path(path), encode(tensors, metadata))


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read the header of a checkpoint without the weights, and therefore without verifying the digest.

    Raises:
        CheckpointError: the file was not written by `save`, is damaged, or is newer than this library.
        FileNotFoundError: there is no such file.
    """
    return parse_header(read_weight_file(path, header_only=True))


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a whole file and compare its bytes with the digest in its header.

    Raises:
        CheckpointError: the file was not written by `save`, is damaged, or is newer than this library.
        FileNotFoundError: there is no such file.
    """
    file = read_weight_file(path)
    header = parse_header(file)
    if header.sha256 is not None:
        file.verify()
    return Checkpoint(file, header)


def load(cls: type[M], path: str | os.PathLike[str], *, allow_nonfinite: bool = False) -> M:
    """Rebuild a model of class `cls` from a file that `save` wrote, as `Module.load` does."""
    return rebuild(cls, read_checkpoint(path), allow_nonfinite=allow_nonfinite)


def rebuild(cls: type[M], checkpoint: Checkpoint, *, allow_nonfinite: bool = False) -> M:
    """Build the model of a checkpoint that was read; see `load`."""
    file, header = checkpoint.file, checkpoint.header
    if header.class_name != cls.__name__:
        raise refusal(f"{file.path} holds a {header.class_name}, not a {cls.__name__}")
    model = _build_on_meta(cls, checkpoint)
    _refuse_misfits(checkpoint, misfits(model, file.shapes))
    complaint = _misfit_of(header.normalization, model)
    if complaint:
        raise refusal(f"{file.path} cannot be loaded: {complaint}")
    tensors = file.tensors()
    _refuse_misfits(checkpoint, mistyped(model, tensors))
    complaint = None if allow_nonfinite else nonfinite(tensors)
    if complaint:
        raise refusal(f"{file.path} {complaint}; pass allow_nonfinite=True to load it all the same")
    state_dict = with_shared(model, tensors)
    if computed_buffers(model, state_dict) and not _init_buffers(model, state_dict, header):
        # Their values come from the constructor, which also draws weights: keep the caller's random state.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # pyright: ignore[reportUnknownMemberType]
            model = cls(**header.config)
    first_names = first_names_of(model)
    model.load_state_dict(state_dict, assign=True)
    share_again(model, first_names)
    _restore_computed(model, state_dict, checkpoint)
    if header.normalization is not None:
        setattr(model, "normalization", header.normalization)  # noqa: B010 - not every module declares it
    if header.sha256 is None:
        _note(
            f"{file.path} is in the format of tinynets 0.1.0, which has no SHA-256: damage would not show. "
            "Save it again to add one"
        )
    return model.eval()


def _build_on_meta(cls: type[M], checkpoint: Checkpoint) -> M:
    """Build a model without memory; the number of tensors in the file limits the time that it takes."""
    # A constructor may replace layers that it has built, or tie the weights of many layers.
    most = 2 * len(checkpoint.file.shapes) + 500
    try:
        with torch.device("meta"), WithoutValues(most):
            return cls(**checkpoint.header.config)
    except Exception as error:  # a constructor may raise anything for unchecked arguments
        reason = str(error).partition("\n")[0] or repr(error)  # torch adds a C++ traceback
        raise refusal(
            f"{checkpoint.file.path} asks for a {cls.__name__} that cannot be built: {reason}"
        ) from None


def _refuse_misfits(checkpoint: Checkpoint, complaints: list[str]) -> None:
    if complaints:
        listed = "; ".join(complaints[:_MOST_MISFITS])
        rest = f"; and {len(complaints) - _MOST_MISFITS} more" if len(complaints) > _MOST_MISFITS else ""
        name = checkpoint.header.class_name
        raise refusal(f"{checkpoint.file.path} does not fit {name}: {listed}{rest}")


def _misfit_of(normalization: Normalization | None, model: nn.Module) -> str | None:
    """Return what is wrong with a normalisation, if the model declares its number of input channels."""
    channels = getattr(model, "in_channels", None)
    if normalization is None or not isinstance(channels, int) or len(normalization.mean) == channels:
        return None
    return (
        f"normalization has {len(normalization.mean)} numbers for mean and std, and {type(model).__name__} "
        f"takes images of in_channels={channels}"
    )


def _init_buffers(model: nn.Module, state_dict: Mapping[str, Tensor], header: Header) -> bool:
    """Compute buffers without the constructor, as the zoo can, and return whether they match the digest.

    They do not match if a subclass has computed buffers that its base does not compute.
    """
    init: Callable[[], None] | None = getattr(model, "_init_buffers", None)
    if init is None or header.computed_sha256 is None:
        return False
    for name, buffer in computed_buffers(model, state_dict).items():
        set_tensor(model, name, torch.zeros_like(buffer, device="cpu"))
    init()
    return digest_of(_as_saved(model, state_dict, header)) == header.computed_sha256


def _as_saved(model: nn.Module, state_dict: Mapping[str, Tensor], header: Header) -> dict[str, Tensor]:
    """Return the computed buffers in the dtypes recorded in the file."""
    return {
        name: buffer.to(header.computed_buffers.get(name, buffer.dtype))
        for name, buffer in computed_buffers(model, state_dict).items()
    }


def _restore_computed(model: nn.Module, state_dict: Mapping[str, Tensor], checkpoint: Checkpoint) -> None:
    """Restore the dtypes of computed buffers, and warn if their values have changed."""
    header = checkpoint.header
    computed = _as_saved(model, state_dict, header)
    for name, buffer in computed.items():
        set_tensor(model, name, buffer)
    if header.computed_sha256 is not None and header.computed_sha256 != digest_of(computed):
        _note(
            f"{', '.join(computed)}, which {header.class_name} computes when it is built, is not what it was "
            f"when {checkpoint.file.path} was saved: was that another version, device or default dtype?"
        )


def _note(text: str) -> None:
    warnings.warn(text, stacklevel=_frames_inside())


def _frames_inside() -> int:
    """Return the stacklevel of the first frame outside of this package, which called `load`."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    return level
