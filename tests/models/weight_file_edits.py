"""Changes to weight files, signed again as somebody would who knows the format."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Split a file into its header and the bytes of its tensors."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:start]), content[start:]


def write(path: Path, header: dict[str, Any], body: bytes) -> Path:
    """Write a file without any check."""
    encoded = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + body)
    return path


def sign(header: dict[str, Any], body: bytes) -> dict[str, Any]:
    """Return the header with the digest that belongs to it: of itself without a digest, and of the tensors."""
    metadata = {name: text for name, text in header.get("__metadata__", {}).items() if name != "sha256"}
    encoded = json.dumps({**header, "__metadata__": metadata}, sort_keys=True, separators=(",", ":"))
    metadata["sha256"] = hashlib.sha256(encoded.encode() + body).hexdigest()
    return {**header, "__metadata__": metadata}


def rewrite(path: Path, **changes: str | None) -> Path:
    """Change entries of a file's metadata, leave its weights, and sign it again."""
    header, body = read(path)
    header["__metadata__"].update(changes)
    for name, value in changes.items():
        if value is None:
            del header["__metadata__"][name]
    return write(path, sign(header, body), body)
