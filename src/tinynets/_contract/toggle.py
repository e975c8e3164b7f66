"""Turn enforcement off and on for the process: `tn.checks(False)` and `TINYNETS_CHECKS=0`, the values that
the variable accepts, and which block decides if threads disagree.
"""

from __future__ import annotations

import os
import threading
from contextlib import ContextDecorator
from typing import Self

_VARIABLE = "TINYNETS_CHECKS"


class Toggle:
    """Whether contracts are enforced, for all threads of the process."""

    def __init__(self, on: bool) -> None:
        self.on = int(on)  # an int, so that generated code compares it at full speed
        self._initial = on
        self._variable = os.environ.get(_VARIABLE)
        self._lock = threading.Lock()
        self._active: list[tuple[object, int]] = []

    def __reduce__(self) -> str:
        return "toggle"  # functions that cloudpickle copies by value keep reading this one object

    def enter(self, owner: object, on: int) -> None:
        """Add an entry, False, True or `VALIDATE_ALL`; the latest one that is still active decides."""
        with self._lock:
            self._active.append((owner, on))
            self._apply()

    def leave(self, owner: object) -> None:
        """Remove the owner's latest entry; threads may leave in any order."""
        with self._lock:
            index = max(i for i, (active, _) in enumerate(self._active) if active is owner)
            del self._active[index]
            self._apply()

    def _apply(self) -> None:
        self.on = int(self._active[-1][1] if self._active else self._initial)
        # Processes started inside the block (spawned DataLoader workers) read it when they import tinynets.
        if self._active:
            os.environ[_VARIABLE] = "1" if self.on else "0"
        elif self._variable is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = self._variable


def _initial() -> bool:
    value = os.environ.get(_VARIABLE, "1").strip().lower()
    if value in ("1", "true", "on", ""):
        return True
    if value in ("0", "false", "off"):
        return False
    raise ValueError(f"{_VARIABLE} must be 0 or 1, got {value!r}")


toggle = Toggle(_initial())


class checks(ContextDecorator):  # noqa: N801  (used as a verb: `with tinynets.checks(False):`)
    """Turn enforcement off, or back on, for a block or a decorated function.

    The setting is global: it applies to every thread, and to every process started inside the block. If
    threads disagree, the most recently entered block that is still active decides. `TINYNETS_CHECKS=0` in the
    environment does the same from import on; `python -O` changes nothing.

    Args:
        enabled: whether contracts are enforced inside the block.
    """

    def __init__(self, enabled: bool) -> None:
        if not isinstance(enabled, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"checks(enabled) takes True or False, got {enabled!r}")
        self.enabled = enabled

    def __enter__(self) -> Self:
        toggle.enter(self, self.enabled)
        return self

    def __exit__(self, *error: object) -> None:
        toggle.leave(self)
