"""Classes with fields whose annotations use names that only this module has, or only type checkers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Optional, Union

from jaxtyping import Shaped as AnyOf
from torch import Tensor

if TYPE_CHECKING:
    from somewhere import Pipeline


@dataclass
class Counted:
    counts: Optional[AnyOf[Tensor, "n"]] = None  # noqa: UP045
    how: Union[dict[str, int], str] = ""  # noqa: UP007


@dataclass
class Attributes:
    pipeline: Optional["Pipeline"]  # noqa: UP045 - quoted twice


@dataclass
class Watchful:
    name: Annotated[str, "no argument of the command line"]

    def __post_init__(self) -> None:
        self.caller = sys._getframe(2).f_code.co_name
