"""What the model raised, as the failure of a check."""

from __future__ import annotations

import traceback

from ..._torch.modules.source_files import TORCH_FOLDER
from ...errors import Failure


def raised(error: Exception, how: str = "the model raised") -> Failure:
    """Return the failure that says what was raised, and in which line of the user's code.

    Args:
        error: the exception.
        how: what comes before it in the message.
    """
    what = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
    others = (TORCH_FOLDER, "/tinynets/testing/")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(other in frame.filename.replace("\\", "/") for other in others)
    ]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    return Failure(f"{how} {what}", where=where, error=error)
