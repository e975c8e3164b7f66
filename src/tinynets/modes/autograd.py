"""This thread's autograd mode, entered and left in any order."""

from __future__ import annotations

import contextlib
import threading
from weakref import WeakSet

import torch


class _Guards(threading.local):
    def __init__(self) -> None:
        self.entered: list[torch.inference_mode] = []


_guards = _Guards()
# Left by another thread than their own, as when a generator is finished there. Only their own can take them
# off, and does when it next enters one.
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

    Each guard of torch puts back what it found, which is wrong when an older one leaves first: the younger
    would bring its mode back for good. So the younger ones are taken off, and put on again without it.
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
