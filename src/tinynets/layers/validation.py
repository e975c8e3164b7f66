"""The errors for constructor arguments (at least 1, a probability, a range, a multiple, a choice) and for
images that are too small, with the argument's name.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import ShapeError


def check_at_least_one(**sizes: object) -> None:
    """Raise ValueError for any size that is not an int of 1 or more."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be an int of at least 1, got {size!r}")


def check_probability(**probabilities: object) -> None:
    """Raise ValueError for any dropout rate outside [0, 1): at 1, all values are zero."""
    for name, value in probabilities.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ValueError(f"{name} must be a number in [0, 1), got {value!r}")


def check_between(lowest: float, highest: float, **numbers: object) -> None:
    """Raise ValueError for anything that is not a number from `lowest` to `highest`."""
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise ValueError(f"{name} must be a number from {lowest:g} to {highest:g}, got {value!r}")


def check_multiple(name: str, value: int, divisor_name: str, divisor: int) -> None:
    """Raise ValueError if `value` cannot be divided into `divisor` equal parts."""
    if value % divisor:
        raise ValueError(f"{name} (={value}) must be a multiple of {divisor_name} (={divisor})")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ValueError for a value that is not one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_image_size(model: nn.Module, images: Tensor, smallest: int, reason: str) -> None:
    """Raise ShapeError for images that are too small to leave a pixel.

    Args:
        model: its class is named in the message.
        images: `[batch channels height width]`.
        smallest: the least height and width.
        reason: what the model does to its images, such as "halves its images twice".
    """
    height, width = images.shape[-2:]
    if height < smallest or width < smallest:
        got = str(list(images.shape))
        raise ShapeError(
            f"{type(model).__name__} {reason}: it takes {smallest}x{smallest} at least, got {got}",
            where="images",
            expected=f"[batch in_channels height>={smallest} width>={smallest}]",
            got=got,
        )
