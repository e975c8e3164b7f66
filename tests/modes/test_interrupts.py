"""Ctrl-C at any moment of entering or leaving a block: every flag comes back."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn

from tinynets import modes
from tinynets.modes import evaluating, frozen, inference, is_frozen, training
from tinynets.modes.context_base import ModeContext

from .nets import flags

OURS = (str(modes.__file__).removesuffix("__init__.py"), str(torch.autograd.grad_mode.__file__))


class _InterruptedOnce(nn.Linear):
    """Ctrl-C arrives while this module's flag is set for the n-th time."""

    def __init__(self, countdown: int) -> None:
        super().__init__(2, 2)
        self.countdown = countdown

    def __setattr__(self, name: str, value: object) -> None:
        if name == "training" and "countdown" in self.__dict__:
            self.__dict__["countdown"] -= 1
            if self.countdown == 0:
                raise KeyboardInterrupt
        super().__setattr__(name, value)


@pytest.mark.parametrize("enter", [evaluating, inference, frozen])
@pytest.mark.parametrize("countdown", [1, 2])
def test_restored_after_ctrl_c_in_the_middle_of_switching(enter: type, countdown: int) -> None:
    model = nn.Sequential(nn.Dropout(), _InterruptedOnce(countdown), nn.Dropout().eval())
    with pytest.raises(KeyboardInterrupt), enter(model):
        pass
    assert flags(model) == [True, True, True, False]
    assert not torch.is_inference_mode_enabled()
    with training(model):  # no block is left open behind
        pass
    assert flags(model) == [True, True, True, False]
    assert not is_frozen(model)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # it may hit a weakref callback
@pytest.mark.parametrize("enter", [inference, training, frozen])
def test_restored_after_real_interrupts(enter: type) -> None:
    armed = False

    def interrupt(_: int, frame: FrameType | None) -> None:
        nonlocal armed
        if frame is not None and frame.f_code.co_name == "__exit__":
            signal.setitimer(signal.ITIMER_REAL, 0.00005)  # at its very first instruction nobody can catch it
        elif armed:
            armed = False
            raise KeyboardInterrupt

    model = nn.Sequential(*[nn.Sequential(nn.Linear(1, 1), nn.Dropout()) for _ in range(50)])
    model[3].eval()
    before, caught = flags(model), 0
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        for step in range(1000):  # on a busy machine, many of them come too late
            if caught == 30:
                break
            try:
                armed, until = True, time.monotonic() + 0.02
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + step % 50 * 0.00002)
                while time.monotonic() < until:
                    with enter(model):
                        pass
                armed = False
            except KeyboardInterrupt:
                caught += 1
            assert flags(model) == before
            assert not torch.is_inference_mode_enabled()
            assert all(parameter.requires_grad for parameter in model.parameters())
            assert not is_frozen(model)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert caught == 30


def interrupted(use: Callable[[], None], model: nn.Module, count: int) -> bool:
    """Interrupt the use of a block where the `count`-th function begins, which is where Python delivers signals.

    Where the block's own `__exit__` begins, nobody can catch it. Returns whether there was such a function.
    """
    before, seen = flags(model), 0

    def trace(frame: FrameType, event: str, _: object) -> None:
        nonlocal seen
        code = frame.f_code
        if (
            event == "call"
            and code.co_filename.startswith(OURS)
            and code is not ModeContext.__exit__.__code__
        ):
            seen += 1
            if seen == count:
                sys.settrace(None)
                raise KeyboardInterrupt

    debugger = sys.gettrace()
    sys.settrace(trace)
    try:
        use()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(debugger)
    assert flags(model) == before
    assert not torch.is_inference_mode_enabled()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not is_frozen(model)
    with training(model):  # no block is left open behind
        assert all(flags(model))
    assert flags(model) == before
    return seen == count


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # inside a generator
@pytest.mark.filterwarnings("ignore:Dynamo detected a call")  # of a frame that it sees only after Ctrl-C
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("enter", [training, evaluating, inference, frozen])
def test_restored_after_ctrl_c_wherever_it_comes(enter: Callable[..., Any], compiled: bool) -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout(), nn.Dropout().eval())
    images = torch.ones(1, 1)

    def use() -> None:
        with enter(model):
            model(images)

    def every_place() -> int:
        use_it = torch.compile(use, backend="eager") if compiled else use
        for _ in range(2 * compiled):
            use_it()  # what is compiled once is not compiled where it is interrupted
        count = 0
        while interrupted(use_it, model, count + 1):
            count += 1
        return count

    with ThreadPoolExecutor(1) as thread:  # an autograd mode that is left behind stays there
        assert thread.submit(every_place).result() > 40
