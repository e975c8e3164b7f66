"""The open mode blocks of the process: which flag each restores, in any order of leaving, and the `ModeError`
if another thread or task holds the model in the other mode.

In torch the mode is one flag per module, shared by all threads. The process therefore has one list of open
blocks, in order of entry. Each block saves the flags that it finds. The last block that holds a module
restores its flag; a block that leaves earlier passes its saved flag to the next block above it. For properly
nested blocks that is plain save and restore; for any other order, the first saved flag survives until the
last block is gone.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable
from typing import Any, TypeAlias

from torch import nn

from ..errors import ModeError
from .flags import apply_flags, call_train, flag_of, set_flag

Owner: TypeAlias = "threading.Thread | asyncio.Task[Any]"

# Reentrant: a `train` override may itself use these blocks.
lock = threading.RLock()
open_blocks: list[Block] = []

# Modules whose innermost open block put them in eval mode, so that the guard can skip them.
approved: set[nn.Module] = set()


class Block:
    """One pass through a `with` statement."""

    __slots__ = ("approves", "before", "called", "owner", "wanted")

    def __init__(self, wanted: dict[nn.Module, bool], *, approves: bool) -> None:
        self.owner = current_owner()
        self.wanted = wanted  # for every module that the block holds
        self.before: dict[nn.Module, bool] = {}
        self.called: list[nn.Module] = []  # modules switched through their own `train`
        self.approves = approves  # the mode is the one that inference needs, or was chosen with that in mind

    def enter(self) -> None:
        """Switch every module to its wanted flag.

        Raises:
            ModeError: another thread or task holds one of them in the other mode; nothing was changed.
        """
        with lock:
            refuse_conflict(self.wanted)
            self.before = {module: flag_of(module) for module in self.wanted}
            open_blocks.append(self)
            apply_flags(self.wanted, self.called)
            if self.approves:
                approved.update(self.wanted)
            else:
                approved.difference_update(self.wanted)

    def leave(self) -> None:
        """Restore every flag, or pass it to the block above that still holds the module."""
        with lock:
            if self not in open_blocks:  # the entry was refused, or the block has left
                _refresh_approved()
                return
            later = open_blocks[open_blocks.index(self) + 1 :]
            mine = self._hand_over(later) if later else self.before
            try:
                for module in self.called:
                    if module in mine and flag_of(module) != mine[module]:
                        call_train(module, mine[module])
                _restore(mine)
            except BaseException:  # Ctrl-C in the middle, or an override that fails: restore the flags first
                _restore(mine)
                raise
            finally:
                open_blocks.remove(self)
                _refresh_approved()

    def _hand_over(self, later: list[Block]) -> dict[nn.Module, bool]:
        mine: dict[nn.Module, bool] = {}
        for module, flag in self.before.items():
            heir = next((block for block in later if module in block.before), None)
            if heir is None:
                mine[module] = flag
                continue
            heir.before[module] = flag
            if module in self.called and module not in heir.called:
                heir.called.append(module)
        return mine


def _restore(before: dict[nn.Module, bool]) -> None:
    for module, flag in before.items():
        if flag_of(module) != flag:
            set_flag(module, flag)


def _refresh_approved() -> None:
    now: set[nn.Module] = set()
    for block in open_blocks:
        if block.approves:
            now.update(block.wanted)
        else:
            now.difference_update(block.wanted)
    # In place and never empty in between: other threads read the set without the lock.
    approved.update(now)
    approved.intersection_update(now)


def refuse_conflict(wanted: dict[nn.Module, bool]) -> None:
    """Raise ModeError if another thread or task holds one of the modules in the other mode."""
    owner = current_owner()
    for block in open_blocks:
        if block.owner is owner or block.wanted == wanted:
            continue
        for module, flag in wanted.items():
            if block.wanted.get(module, flag) != flag:
                raise _conflict(module, flag, block.owner)


def refuse_in_train_mode(modules: Iterable[nn.Module], what: str) -> None:
    """Raise ModeError if the innermost open block of one of the modules holds it in train mode."""
    with lock:
        held = {module: block.wanted[module] for block in open_blocks for module in block.wanted}
    for module in modules:
        if held.get(module, False):
            raise ModeError(
                f"{what} always computes in eval mode, but an open block holds {type(module).__name__} in"
                " train mode\n  Call it outside of that block, or call the model itself.",
                expected="eval mode",
                got="train mode, held by an open block",
            )


def current_owner() -> Owner:
    """Return the current asyncio task if there is one, else the current thread."""
    try:
        return asyncio.current_task() or threading.current_thread()
    except RuntimeError:  # no event loop in this thread
        return threading.current_thread()


def _conflict(module: nn.Module, flag: bool, other: Owner) -> ModeError:
    names = {True: "train", False: "eval"}
    who = f"thread {other.name!r}" if isinstance(other, threading.Thread) else f"task {other.get_name()!r}"
    return ModeError(
        f"{type(module).__name__} cannot go to {names[flag]} mode: {who} is in a block that holds it in"
        f" {names[not flag]} mode\n"
        "  The flag belongs to the model, not to a thread, so each would run in the other's mode.\n"
        "  Let that block end first, or give each its own copy: copy.deepcopy(model).",
        expected=f"{names[flag]} mode",
        got=f"{names[not flag]} mode, held by {who}",
    )


def _new_lock_in_child() -> None:
    global lock
    lock = threading.RLock()  # the thread that held it does not exist in the forked child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock_in_child)
