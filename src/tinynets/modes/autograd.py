"""Enter and leave `torch.inference_mode` for mode blocks in any order, even if another thread finishes a
generator.
"""

from __future__ import annotations

import contextlib
import threading
from weakref import WeakSet

import torch


class _Guards(threading.local):
    def __init__(self) -> None:
        self.entered: list[torch.inference_mode] = []


_guards = _Guards()
# Guards left by another thread than the one that entered them, as when a generator is finished there. Only
# the entering thread can remove them, and does so when it next enters a guard.
_abandoned: WeakSet[torch.inference_mode] = WeakSet()


def enter_autograd_mode(guard: torch.inference_mode) -> None:
    """Enter `torch.inference_mode(flag)`; False also enables gradients inside an outer `no_grad`."""
    entered = _guards.entered
    if _abandoned:
        for one in [one for one in entered if one in _abandoned]:
            leave_autograd_mode(one)
    entered.append(guard)
    guard.__enter__()


def leave_autograd_mode(guard: torch.inference_mode) -> None:
    """Undo one `enter_autograd_mode`.

    Each guard of torch restores the mode that it found, which is wrong if an older one leaves first: the
    younger would restore the older one's mode for good. The younger ones are therefore exited and re-entered.
    """
    entered = _guards.entered
    if guard not in entered:
        _abandoned.add(guard)
        return
    index = entered.index(guard)
    younger = entered[index + 1 :]
    for one in reversed(entered[index:]):
        with contextlib.suppress(AttributeError):  # Ctrl-C came before it was entered
            one.__exit__(None, None, None)
    del entered[index:]
    for one in younger:
        one.__enter__()
        entered.append(one)
