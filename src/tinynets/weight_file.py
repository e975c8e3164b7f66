"""The bytes of a weight file: safetensors, read once, with a SHA-256 in a header of at most 4 MiB; the errors
for a truncated, damaged or other file (`torch.save`), cut to one line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from .errors import CheckpointError

DIGEST = "sha256"
_METADATA = "__metadata__"
_LARGEST_HEADER = 4 * 2**20  # about 40,000 tensors; parsing takes time and memory before anything is verified
_LONGEST_MESSAGE = 600


@dataclass(frozen=True)
class WeightFile:
    """What was in a weight file at the moment it was read."""

    path: str  # for messages
    header: dict[str, Any]  # one entry for each tensor, and the metadata
    content: bytes  # the whole file; empty if only the header was read
    start: int  # where the bytes of the tensors begin

    @property
    def metadata(self) -> dict[str, str]:
        """The strings in the header besides the tensors."""
        return self.header.get(_METADATA, {})

    @property
    def shapes(self) -> dict[str, list[int]]:
        """The shape of every tensor according to the header."""
        return {name: entry["shape"] for name, entry in self.header.items() if name != _METADATA}

    def verify(self) -> None:
        """Compare the digest in the header with the contents of the file.

        Raises:
            CheckpointError: there is no digest, or it differs.
        """
        if self.metadata.get(DIGEST) != _digest(self.header, memoryview(self.content)[self.start :]):
            raise refusal(
                f"{self.path} is damaged: its SHA-256 is not the one in its header. Copy or save it again"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors, each in its own memory, so that later changes to the file do not affect them.

        Raises:
            CheckpointError: the header does not match the bytes after it.
        """
        try:
            return tensors_from_bytes(self.content)
        except (SafetensorError, LookupError, ValueError, TypeError, RuntimeError, AssertionError) as error:
            raise refusal(f"{self.path} is no whole safetensors file: {error}") from None


def encode(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a weight file; equal tensors and metadata result in equal bytes.

    Raises:
        CheckpointError: there are more tensors than `read_weight_file` accepts.
    """
    content = safetensors_bytes(dict(tensors), dict(metadata))
    start = 8 + int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8:start]), content[start:]
    header[_METADATA] = {**metadata, DIGEST: _digest(header, body)}
    encoded = _canonical(header)
    encoded += b" " * (-len(encoded) % 8)  # the format requires aligned tensors
    if len(encoded) > _LARGEST_HEADER:
        raise CheckpointError(
            f"the names of {len(tensors)} tensors take {len(encoded)} bytes; a header of at most "
            f"{_LARGEST_HEADER} can be read"
        )
    return b"".join((len(encoded).to_bytes(8, "little"), encoded, body))


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of some tensors: names, shapes, dtypes and values."""
    dtypes = {name: f"{tensor.dtype} {list(tensor.shape)}" for name, tensor in tensors.items()}
    # As bytes, since safetensors does not know every dtype.
    flat = {
        name: tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        for name, tensor in tensors.items()
    }
    return hashlib.sha256(encode(flat, dtypes)).hexdigest()


def read_weight_file(path: str | os.PathLike[str], *, header_only: bool = False) -> WeightFile:
    """Read a file. It is opened once, so that a file that replaces it meanwhile is not mixed in.

    Raises:
        CheckpointError: it is not a safetensors file, or is truncated.
        FileNotFoundError: there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file at {path}")
    try:
        with open(path, "rb") as file:
            beginning = file.read(8)
            start = 8 + int.from_bytes(beginning, "little")
            if start > 8 + _LARGEST_HEADER:
                if beginning.startswith((b"PK", b"\x80\x02")):  # torch's archive, and its older form
                    raise ValueError(
                        "it is one of torch.save, for model.load_state_dict(torch.load(path)), or of"
                        " tinynets.export, for tinynets.load_exported(path)"
                    )
                raise ValueError(f"a header of {start - 8} bytes, where at most {_LARGEST_HEADER} are read")
            file.seek(0)
            content = file.read(start if header_only else -1)
            length = os.fstat(file.fileno()).st_size if header_only else len(content)
        header = _parse(content[8:start])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != _METADATA]
        if length != start + max(ends, default=0):
            raise ValueError(f"{length} bytes, where its header describes {start + max(ends, default=0)}")
        return WeightFile(str(path), header, b"" if header_only else content, start)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise refusal(f"{path} is no whole safetensors file: {error}") from None


def refusal(text: str) -> CheckpointError:
    """Return an error of one line, even if the file contains control characters."""
    cut = text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."
    return CheckpointError("".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in cut))


def _parse(encoded: bytes) -> dict[str, Any]:
    """Parse a header, and check that it has the form that the format requires."""
    header: dict[str, Any] = json.loads(encoded)
    for text in (*header.get(_METADATA, {}), *header.get(_METADATA, {}).values()):
        if not isinstance(text, str):
            raise TypeError(f"metadata must be strings, got {text!r}")
    for name, entry in header.items():
        numbers = () if name == _METADATA else (*entry["shape"], *entry["data_offsets"])
        if not all(isinstance(number, int) for number in numbers):
            raise TypeError(f"shape and offsets of {name} must be ints, got {entry!r}")
    return header


def _digest(header: Mapping[str, Any], body: bytes | memoryview) -> str:
    """Return the SHA-256 of a header without its digest, and of the tensors."""
    metadata = {name: text for name, text in header.get(_METADATA, {}).items() if name != DIGEST}
    digest = hashlib.sha256(_canonical({**header, _METADATA: metadata}))
    digest.update(body)
    return digest.hexdigest()


def _canonical(header: Mapping[str, Any]) -> bytes:
    """Write a header with sorted keys: safetensors writes them in random order."""
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
