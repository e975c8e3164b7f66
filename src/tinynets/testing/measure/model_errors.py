"""Turn exceptions of the model into a `Failure` or `Skip` of a check: `the model raised ...`, the user's
line, at most 300 characters in one line, a `train` that raises.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager

from torch import nn

from ..._torch.modules.source_files import TORCH_FOLDER
from ...errors import Failure, Skip


def set_mode(model: nn.Module, training: bool) -> None:
    """Switch a model to training or eval mode.

    Raises:
        Failure: its own `train` raised.
    """
    try:
        model.train(training)
    except Exception as error:
        failure = raised(error, f"model.train({training}) raised")
        failure.cause = f"{type(model).__name__} has a method train of its own: torch calls it as train(mode)"
        raise failure from error


@contextmanager
def as_failure(
    how: str = "the model raised",
    text: Callable[[Exception], str] | None = None,
    place: Callable[[Exception], str] | None = None,
) -> Generator[None]:
    """Turn what the block raises into a `Failure`.

    Args:
        how: what comes before the exception in the message.
        text: describes the exception; if None, `raised` does, with the user's line.
        place: returns where it was raised; used with `text`.
    """
    try:
        yield
    except Exception as error:
        if text is None:
            raise raised(error, how) from error
        raise Failure(f"{how} {text(error)}", where=place(error) if place else "", error=error) from error


@contextmanager
def as_skip(reason: str) -> Generator[None]:
    """Turn a `Failure` of the block into a `Skip`; `{}` in the reason stands for what failed."""
    try:
        yield
    except Failure as failure:
        raise Skip(reason.replace("{}", failure.what)) from None


def raised(error: Exception, how: str = "the model raised", *, own: bool = False) -> Failure:
    """Return the failure that says what was raised, and in which line of the user's code.

    Args:
        error: the exception.
        how: what comes before it in the message.
        own: whether to name a line of this package if none of the user's was reached.
    """
    what = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
    others = (TORCH_FOLDER, "/tinynets/testing/")
    every = traceback.extract_tb(error.__traceback__)
    frames = [
        frame for frame in every if not any(other in frame.filename.replace("\\", "/") for other in others)
    ] or (every if own else [])
    where = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    return Failure(f"{how} {what}", where=where, error=error)


def short(error: BaseException, message: str = "", most: int = 300) -> str:
    """Return an exception in one line, with another message if one is given."""
    text = " ".join((message or str(error)).split())
    return f"{type(error).__name__}: {text[:most]}{'...' if len(text) > most else ''}"
