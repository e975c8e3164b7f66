"""Decode untrusted PNG, JPEG or JSON images from the network to tensors."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import orjson
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

MAX_PIXELS = 256 * 256  # as declared in the header: a small file can unpack to gigabytes
MAX_SCANS = 64  # of a progressive JPEG, which needs ten; each passes over all pixels again
MAX_DEPTH = 8  # of nested lists; torch itself gives up at 64
CHANNELS = {"L": 1, "RGB": 3}  # by Pillow's name for the kind of pixel
Image.MAX_IMAGE_PIXELS = None  # Pillow's limit only warns up to twice its value; ours raises


class ImageError(Exception):
    """The bytes are not a valid image; the message says why."""


def read_png(content: bytes) -> Tensor:
    """Decode a PNG to `[channels height width]` in [0, 1]."""
    return decode(content, "PNG", critical_chunks)


def read_jpeg(content: bytes) -> Tensor:
    """Decode a JPEG to `[channels height width]` in [0, 1]."""
    if content.count(b"\xff\xda") > MAX_SCANS:  # in the pixels, a zero follows each 255
        raise ImageError(f"a JPEG may have {MAX_SCANS} scans, this one has more")
    return decode(content, "JPEG", bytes)


def decode(content: bytes, name: str, prepare: Callable[[bytes], bytes]) -> Tensor:
    """Decode an image of one format, after its size and pixel format were checked."""
    try:
        image = Image.open(io.BytesIO(prepare(content)), formats=[name])  # reads the header only
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"a {name} may have {MAX_PIXELS:,} pixels, this one has {image.width}x{image.height}"
            )
        if image.mode not in CHANNELS:
            raise ImageError(f"a {name} must be 8-bit grey (L) or RGB, this one is {image.mode}")
        pixels = bytearray(image.tobytes())
    except ImageError:
        raise
    except Exception:  # a damaged file can raise any of a dozen types
        raise ImageError(f"this is no whole {name} image") from None
    grid = torch.frombuffer(pixels, dtype=torch.uint8).float() / 255
    return rearrange(grid, "(h w c) -> c h w", h=image.height, c=CHANNELS[image.mode])


def critical_chunks(png: bytes) -> bytes:
    """Keep only the chunks with the pixels: the others, text and colour profiles, can unpack to gigabytes.

    Every chunk must be complete and match its checksum, which Pillow does not verify when it decodes.
    """
    kept, start, name = [png[:8]], 8, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", png, start)
        start, end = start + 12 + length, start + 8 + length
        if zlib.crc32(png[end - length - 4 : end]) != int.from_bytes(png[end:start]):
            raise ValueError(f"the checksum of {name} differs")
        if name[:1].isupper():
            kept.append(png[end - length - 8 : start])
    return b"".join(kept)


def read_json(content: bytes) -> Tensor:
    """Read `{"image": ...}`, nested lists of numbers in [0, 1]; the model checks the shape."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ImageError(f"this is no JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("image"), list):
        raise ImageError('the JSON must be {"image": [[[...]]]}: channels, rows and numbers')
    try:
        image = torch.tensor(document["image"], dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ImageError(f"the image must be lists of numbers, equally long: {error}") from None
    if image.ndim > MAX_DEPTH:
        raise ImageError(f"lists may be nested {MAX_DEPTH} deep, these are {image.ndim} deep")
    if image.numel():
        low, high = image.aminmax()
        if not (low >= 0 and high <= 1):  # false for NaN too
            raise ImageError(
                f"numbers must lie in [0, 1], got {low:g} to {high:g}; divide 8-bit pixels by 255"
            )
    return image
