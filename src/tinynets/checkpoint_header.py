"""What a saved file records of its model (format version, class, config, `Normalization`, computed buffers),
and the errors for a file without a header, a newer format or a damaged header.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch

from ._version import __version__
from .weight_file import DIGEST, WeightFile, refusal

FORMAT_VERSION = 2  # version 1 (tinynets 0.1.0) has no digest


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation per channel for normalising images: `(image - mean) / std`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(number) for number in self.mean))
        object.__setattr__(self, "std", tuple(float(number) for number in self.std))
        if len(self.mean) != len(self.std) or not self.std or min(self.std) <= 0:
            raise ValueError(
                f"mean and std need one number per channel, std above 0, got {self.mean}, {self.std}"
            )
        if not all(map(math.isfinite, (*self.mean, *self.std))):
            raise ValueError(f"mean and std must be finite, got {self.mean}, {self.std}")


@dataclass(frozen=True)
class Header:
    """Header of a checkpoint."""

    class_name: str
    config: dict[str, Any]  # constructor arguments of the model
    library_version: str  # of the tinynets that wrote the file
    normalization: Normalization | None = None  # of the images that the model expects, if it was set
    sha256: str | None = None  # digest of all that the file holds; None in a file of tinynets 0.1.0
    # Dtypes of the buffers that are not stored, since the constructor computes them.
    computed_buffers: dict[str, torch.dtype] = field(default_factory=dict[str, torch.dtype])
    computed_sha256: str | None = None  # digest of those buffers as they were, if there are any

    def to_metadata(self) -> dict[str, str]:
        """Return the strings of a file's header, without the digest, which `encode` adds.

        Raises:
            TypeError, ValueError: an argument is not plain data.
        """
        metadata = {
            "format_version": str(FORMAT_VERSION),
            "library": "tinynets",
            "library_version": self.library_version,
            "class": self.class_name,
            "config": json.dumps(self.config, allow_nan=False),
        }
        if self.normalization is not None:
            metadata["mean"] = json.dumps(self.normalization.mean)
            metadata["std"] = json.dumps(self.normalization.std)
        if self.computed_sha256 is not None:
            dtypes = {
                name: str(dtype).removeprefix("torch.") for name, dtype in self.computed_buffers.items()
            }
            metadata["computed_buffers"] = json.dumps(dtypes)
            metadata["computed_sha256"] = self.computed_sha256
        return metadata


def parse_header(file: WeightFile) -> Header:
    """Return the header of a file.

    Raises:
        CheckpointError: the file was not written by `save`, is damaged, or is newer than this library.
    """
    metadata = file.metadata
    version = metadata.get("format_version", "")
    if metadata.get("library") != "tinynets" or not (version.isdecimal() and len(version) < 10):
        raise refusal(
            f"{file.path} has no tinynets header: it holds weights, but not of which model. Build the model, "
            "then model.load_state_dict(safetensors.torch.load_file(path))",
        )
    if int(version) > FORMAT_VERSION:
        raise refusal(
            f"{file.path} was written by tinynets {metadata.get('library_version')} in format {version}; "
            f"this is {__version__}, which reads up to {FORMAT_VERSION}. Upgrade tinynets",
        )
    if int(version) > 1 and DIGEST not in metadata:
        raise refusal(f"{file.path} is damaged: its header has no SHA-256")
    try:
        return Header(
            metadata["class"],
            _parse(metadata["config"], dict),
            metadata.get("library_version", "?"),
            _normalization(metadata),
            metadata.get(DIGEST),
            {
                name: _dtype(text)
                for name, text in _parse(metadata.get("computed_buffers", "{}"), dict).items()
            },
            metadata.get("computed_sha256"),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise refusal(f"the header of {file.path} is damaged: {error!r}") from None


def _normalization(metadata: Mapping[str, str]) -> Normalization | None:
    if "mean" not in metadata and "std" not in metadata:
        return None
    return Normalization(_parse(metadata["mean"], list), _parse(metadata["std"], list))


def _parse(text: str, kind: type) -> Any:
    value = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, got {text[:100]}")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"torch has no dtype {name!r}")
    return dtype
