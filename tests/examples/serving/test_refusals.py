"""Images and bodies that the server refuses, in the words of the contract or its own."""

from __future__ import annotations

import json
import resource
import struct
import zlib
from contextlib import suppress
from types import ModuleType

import pytest
import torch

import tinynets as tn

from .client import JPEG, JSON, PNG, WHOLE, detail, jpeg, pixels, png


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def handmade(width: int, height: int, rows: bytes, *more: bytes) -> bytes:
    """A grey PNG that may declare any size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", header, *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


DIGIT = [[[0.5] * 28] * 28]
CONTRACT = {
    "colours": (
        PNG,
        png(pixels(28, 28, 3), "RGB"),
        """TinyVisionMLP(images): axis 1 is 3, expected 1
  expected float   [batch 1 28 28]
  got      float32 [1     3 28 28]
  Colour images? Reduce them to one channel: images.mean(1, keepdim=True).""",
    ),
    "another size": (
        PNG,
        png(pixels(32, 32)),
        """TinyVisionMLP(images): axis 2 is 32, expected 28
  expected float   [batch 1 28 28]
  got      float32 [1     1 32 32]
  Resize or crop the images to 28x28.""",
    ),
    "channels last": (
        JSON,
        json.dumps({"image": [[[0.5]] * 28] * 28}).encode(),
        """TinyVisionMLP(images): axis 1 is 28, expected 1
  expected float   [batch 1  28 28]
  got      float32 [1     28 28 1]
  These sizes fit after images.permute(0, 3, 1, 2): the images look channels-last (NHWC), the model wants NCHW.
  Unchecked, a model that flattens would scramble pixels and channels silently.""",
    ),
    "no channels": (JSON, json.dumps({"image": DIGIT[0]}).encode(), ""),
    "a batch": (JSON, json.dumps({"image": [DIGIT]}).encode(), ""),
    "nothing": (JSON, b'{"image": []}', ""),
}


@pytest.mark.parametrize("case", CONTRACT)
def test_a_wrong_shape_is_refused_in_the_words_of_the_contract(
    serve: ModuleType, port: int, model: tn.Module, case: str
) -> None:
    content_type, body, literal = CONTRACT[case]
    said = detail(port, content_type, body)
    with pytest.raises(tn.ShapeError) as refused, tn.inference(model):
        model(serve.READERS[content_type](body)[None])
    assert said == str(refused.value)
    assert said == literal or not literal


LARGE = handmade(257, 256, b"\0" * 257 * 256)
NO_PNG = "this is no whole PNG image"
NO_JPEG = "this is no whole JPEG image"
PHOTO = jpeg(pixels(28, 28))
PROGRESSIVE = jpeg(pixels(28, 28), progressive=True)
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
SCANS = PROGRESSIVE[:-2] + LAST_SCAN * 70 + PROGRESSIVE[-2:]
NO_JSON = "this is no JSON: "  # and what orjson says
RANGE = "numbers must lie in [0, 1], got {}; divide 8-bit pixels by 255"
BODIES = {
    "no PNG": (PNG, b"garbage", NO_PNG),
    "GIF": (PNG, b"GIF89a" + WHOLE, NO_PNG),
    "truncated PNG": (PNG, WHOLE[:400], NO_PNG),
    "PNG without its end": (PNG, WHOLE[:-12], NO_PNG),
    "PNG header only": (PNG, WHOLE[:33], NO_PNG),
    "one bit flipped": (PNG, WHOLE[:200] + bytes([WHOLE[200] ^ 1]) + WHOLE[201:], NO_PNG),
    "bomb": (PNG, handmade(60000, 60000, b""), "a PNG may have 65,536 pixels, this one has 60000x60000"),
    "just too large": (PNG, LARGE, "a PNG may have 65,536 pixels, this one has 257x256"),
    "palette": (PNG, png(pixels(28, 28), "P"), "a PNG must be 8-bit grey (L) or RGB, this one is P"),
    "transparent": (
        PNG,
        png(pixels(28, 28, 4), "RGBA"),
        "a PNG must be 8-bit grey (L) or RGB, this one is RGBA",
    ),
    "no JPEG": (JPEG, WHOLE, NO_JPEG),
    "truncated JPEG": (JPEG, PHOTO[:400], NO_JPEG),
    "JPEG header only": (JPEG, PHOTO[:160], NO_JPEG),
    "large JPEG": (
        JPEG,
        jpeg(pixels(1, 1).expand(257, 256)),
        "a JPEG may have 65,536 pixels, this one has 256x257",
    ),
    "CMYK": (JPEG, jpeg(pixels(8, 8, 4), "CMYK"), "a JPEG must be 8-bit grey (L) or RGB, this one is CMYK"),
    "many scans": (JPEG, SCANS, "a JPEG may have 64 scans, this one has more"),
    "no JSON": (JSON, b'{"image": ', NO_JSON),
    "no text": (JSON, b"\xff\xfe\x00", NO_JSON),
    "no object": (JSON, b"[[[0.5]]]", 'the JSON must be {"image": [[[...]]]}: channels, rows and numbers'),
    "no image": (
        JSON,
        b'{"pixels": []}',
        'the JSON must be {"image": [[[...]]]}: channels, rows and numbers',
    ),
    "text": (JSON, b'{"image": "x"}', 'the JSON must be {"image": [[[...]]]}: channels, rows and numbers'),
    "ragged": (JSON, b'{"image": [[1, 0], [1]]}', "the image must be lists of numbers, equally long: "),
    "words": (JSON, b'{"image": [["x"]]}', "the image must be lists of numbers, equally long: "),
    "null": (JSON, b'{"image": [null]}', "the image must be lists of numbers, equally long: "),
    "huge": (JSON, b'{"image": [1%s]}' % (b"0" * 400), NO_JSON),
    "deep": (
        JSON,
        b'{"image": %s1%s}' % (b"[" * 65, b"]" * 65),
        "lists may be nested 8 deep, these are 65 deep",
    ),
    "bottomless": (JSON, b"[" * 200_000, NO_JSON),
    "8-bit": (JSON, b'{"image": [[[0, 255]]]}', RANGE.format("0 to 255")),
    "negative": (JSON, b'{"image": [[[-1, 1]]]}', RANGE.format("-1 to 1")),
    "NaN": (JSON, b'{"image": [[[0.5, NaN]]]}', NO_JSON),
    "too large for float32": (JSON, b'{"image": [[[0.5, 1e99]]]}', RANGE.format("0.5 to inf")),
    "infinity": (JSON, b'{"image": [[[0.5, 1e999]]]}', NO_JSON),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_no_image_is_refused(port: int, case: str) -> None:
    content_type, body, text = BODIES[case]
    said = detail(port, content_type, body)
    assert said.startswith(text) if text.endswith(": ") else said == text


def bombs() -> dict[str, bytes]:
    """PNGs of 28x28 that would unpack to 200 MB."""
    rows, packed = bytes(29 * 28), zlib.compress(bytes(1_000_000))
    return {
        "one text": handmade(28, 28, rows, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000)))),
        "texts": handmade(28, 28, rows, *(chunk(b"zTXt", b"%d\0\0" % n + packed) for n in range(200))),
        "profiles": handmade(28, 28, rows, *[chunk(b"iCCP", b"a\0\0" + packed)] * 200),
        "pixels": handmade(28, 28, rows + bytes(200_000_000)),
    }


@pytest.mark.slow
def test_a_png_unpacks_to_its_pixels_and_no_further(serve: ModuleType) -> None:
    for name, content in bombs().items():
        assert len(content) < serve.MAX_BODY
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert torch.equal(serve.read_png(content), torch.zeros(1, 28, 28)), name
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000, f"{name}: KiB"


def test_a_text_that_is_damaged_is_damage(serve: ModuleType) -> None:
    whole = handmade(28, 28, bytes(29 * 28), chunk(b"tEXt", b"a\0b"))
    damaged = whole.replace(b"a\0b", b"a\0c")
    assert serve.read_png(whole).shape == (1, 28, 28)
    with pytest.raises(serve.ImageError, match=NO_PNG):
        serve.read_png(damaged)


def test_the_largest_png_is_decoded(serve: ModuleType) -> None:
    assert serve.read_png(png(pixels(256, 256))).shape == (1, 256, 256)


def test_no_damage_makes_a_reader_raise_anything_else(serve: ModuleType) -> None:
    whole = serve.read_png(WHOLE)
    random = torch.Generator().manual_seed(0)
    for _ in range(200):
        place, value = (int(torch.randint(high, (), generator=random)) for high in (len(WHOLE), 256))
        with suppress(serve.ImageError):
            assert torch.equal(serve.read_png(WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :]), whole)


@pytest.mark.parametrize("content_type", ["", "text/plain", "image/gif", "multipart/form-data; boundary=x"])
def test_another_content_type_is_refused(port: int, content_type: str) -> None:
    said = detail(port, content_type, WHOLE, status=415)
    assert said == "the content type must be one of image/png, image/jpeg, application/json"
