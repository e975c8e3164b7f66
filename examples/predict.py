"""Classify the digit in an image: any size, grey or colour, dark on light or light on dark."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from PIL import Image, ImageOps
    from torch import Tensor

    import tinynets as tn
except ModuleNotFoundError as missing:
    raise SystemExit(f"error: {missing.name} is not installed: pip install 'tinynets[examples]'") from None

FAINTEST = 0.2  # of the darkest ink; anything fainter is paper


class PictureError(Exception):
    """The image cannot contain a digit; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per image, and return the exit code of the script."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="a picture of one digit")
    options.add_argument("--model", choices=("lenet5", "tiny_vision_mlp"), default="lenet5")
    chosen = options.parse_args(arguments)
    model = tn.create_model(chosen.model, pretrained="mnist5k")
    failed = False
    for path in chosen.images:
        try:
            digit, probability = predict(model, as_mnist(ink(read(path))))
        except (PictureError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            failed = True  # Pillow may raise any of these for a damaged file
            print(f"error: {path}: {error}", file=sys.stderr)
        else:
            print(f"{path}: {digit} ({probability:.1%})")
    return 1 if failed else 0


def predict(model: tn.models.ImageClassifier, image: Tensor) -> tuple[int, float]:
    """Return the most likely digit of one image in [0, 1], `[28 28]`, and its probability."""
    normalization = model.normalization
    assert normalization is not None, "the weights that come with the package have one"
    normalized = (image - normalization.mean[0]) / normalization.std[0]
    with tn.inference(model):
        probabilities = model(normalized.reshape(1, 1, 28, 28)).softmax(1)[0]
    return int(probabilities.argmax()), float(probabilities.max())


def read(path: Path) -> Tensor:
    """Read an image as brightness, `[height width]`; transparent pixels become paper."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith(("I", "F")):  # 16 bits or more, which Pillow would clip at 255
            return torch.from_numpy(np.asarray(image, dtype=np.float32))
        grey, alpha = image.convert("RGBA").convert("LA").split()
    brightness, opacity = (torch.from_numpy(np.asarray(part, dtype=np.float32)) for part in (grey, alpha))
    opacity /= 255
    if opacity.max() == 0:
        raise PictureError("all of the picture is transparent")
    seen = (brightness * opacity).sum() / opacity.sum()
    behind = 255.0 if seen < 128 else 0.0  # dark ink on white, light ink on black
    return brightness * opacity + behind * (1 - opacity)


def ink(brightness: Tensor) -> Tensor:
    """Convert brightness to ink in [0, 1]: how much a pixel differs from those at the edge of the image."""
    edge = torch.cat((brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]))
    distance = (brightness - edge.median()).abs()
    if not distance.isfinite().all():
        raise PictureError("the picture has pixels that are not finite")
    if distance.max() == 0:
        raise PictureError("all pixels of the picture are equal")
    distance /= distance.max()
    return distance * (distance >= FAINTEST)


def as_mnist(drawn: Tensor) -> Tensor:
    """Scale the ink into 20x20 pixels and move its centre of mass to the middle of 28x28, as in MNIST."""
    rows, columns = drawn.any(1).nonzero().flatten(), drawn.any(0).nonzero().flatten()
    cropped = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(cropped.shape)
    size = [max(1, round(side * scale)) for side in cropped.shape]
    fitted = F.interpolate(cropped[None, None], size=size, mode="bilinear", antialias=True)[0, 0]
    fitted /= fitted.max()
    height, width = fitted.shape
    mass = fitted.sum()
    centre = [
        float((fitted.sum(1 - axis) * torch.arange(fitted.shape[axis])).sum() / mass) for axis in (0, 1)
    ]
    top, left = (
        min(max(round(13.5 - middle), 0), 28 - side)
        for middle, side in zip(centre, (height, width), strict=True)
    )
    return F.pad(fitted, (left, 28 - width - left, top, 28 - height - top))


def _start(profile: Tensor) -> int:
    """Return where ink begins in 28 pixels, so that its centre of mass is in the middle."""
    centre = float((profile * torch.arange(len(profile))).sum() / profile.sum())
    return min(max(round(13.5 - centre), 0), 28 - len(profile))


if __name__ == "__main__":
    raise SystemExit(main())
