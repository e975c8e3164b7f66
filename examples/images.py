"""Images as they come over a wire, PNG or JSON, to tensors; nothing is believed of what they claim to be."""

from __future__ import annotations

import io
import json

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

MAX_PIXELS = 256 * 256  # as a PNG declares them: a small file can unpack to gigabytes
MAX_DEPTH = 8  # of nested lists; torch itself gives up at 64
CHANNELS = {"L": 1, "RGB": 3}  # by Pillow's name for the kind of pixel
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit only warns until it is passed twice; ours refuses


class ImageError(Exception):
    """The bytes hold no image; the message says why."""


def read_png(content: bytes) -> Tensor:
    """Decode a PNG to `[channels height width]` in [0, 1]."""
    try:
        image = Image.open(io.BytesIO(content), formats=["PNG"])  # reads the header only
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(
                f"a PNG may have {MAX_PIXELS:,} pixels, this one has {image.width}x{image.height}"
            )
        if image.mode not in CHANNELS:
            raise ImageError(f"a PNG must be 8-bit grey (L) or RGB, this one is {image.mode}")
        image.verify()  # compares checksums, which decoding does not, and leaves the image unusable
        pixels = bytearray(Image.open(io.BytesIO(content), formats=["PNG"]).tobytes())
    except ImageError:
        raise
    except Exception:  # damage shows as any of a dozen types
        raise ImageError("this is no whole PNG image") from None
    grid = torch.frombuffer(pixels, dtype=torch.uint8).float() / 255
    return rearrange(grid, "(h w c) -> c h w", h=image.height, c=CHANNELS[image.mode])


def read_json(content: bytes) -> Tensor:
    """Read `{"image": ...}`, nested lists of numbers in [0, 1]; which shape fits, the model says."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"this is no JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("image"), list):
        raise ImageError('the JSON must be {"image": [[[...]]]}: channels, rows and numbers')
    try:
        image = torch.tensor(document["image"], dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ImageError(f"the image must be lists of numbers, equally long: {error}") from None
    if image.ndim > MAX_DEPTH:
        raise ImageError(f"lists may be nested {MAX_DEPTH} deep, these are {image.ndim} deep")
    if not ((image >= 0) & (image <= 1)).all():  # NaN is neither
        low, high = image.min(), image.max()
        raise ImageError(f"numbers must lie in [0, 1], got {low:g} to {high:g}; divide 8-bit pixels by 255")
    return image
