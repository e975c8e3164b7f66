"""One flag, many threads: the last one out restores; two that want different modes are told so."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from tinynets import ModeError
from tinynets.modes import approved, evaluating, frozen, inference, training

from .nets import flags


def make() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4).eval(), nn.Dropout(0.5))
    return nn.Sequential(model, nn.RReLU())


def test_sixteen_threads_serve_one_model() -> None:
    model = make()
    x, before = torch.randn(3, 4), flags(model)
    serving = inference(model)
    with inference(model):
        expected = model(x)
    start = threading.Barrier(16)

    def serve(worker: int) -> int:
        start.wait(10)
        for _ in range(50):
            with serving if worker % 2 else inference(model):
                assert torch.equal(model(x), expected)
            assert not torch.is_inference_mode_enabled()
        return 50

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(serve, range(16))) == 800
    assert flags(model) == before
    assert not approved


def test_naive_save_and_restore_would_not_pass() -> None:
    """The order of leaving that breaks it: first in, first out."""
    model, inside, left = make(), threading.Event(), threading.Event()
    before = flags(model)

    def second() -> None:
        with inference(model):
            inside.set()
            assert left.wait(10)
            assert not any(flags(model))

    thread = threading.Thread(target=second)
    with inference(model):
        thread.start()
        assert inside.wait(10)
    assert not any(flags(model))  # the other thread still needs it
    left.set()
    thread.join()
    assert flags(model) == before


@pytest.mark.parametrize(
    ("here", "there", "refused"),
    [
        (inference, training, True),
        (training, inference, True),
        (training, evaluating, True),
        (training, frozen, True),
        (evaluating, inference, False),
        (training, training, False),
        (frozen, training, False),  # allowed: what is frozen stays in eval mode anyway
        (frozen, inference, False),
    ],
)
def test_two_threads_that_want_different_modes(here: type, there: type, refused: bool) -> None:
    model = make()
    before, caught = flags(model), []

    def other() -> None:
        try:
            with there(model[0]):
                pass
        except ModeError as error:
            caught.append(error)

    with here(model):
        inside = flags(model)
        thread = threading.Thread(target=other, name="other")
        thread.start()
        thread.join()
        assert flags(model) == inside
    assert flags(model) == before
    assert bool(caught) == refused
    if caught:
        assert "MainThread" in str(caught[0])
        assert "copy.deepcopy(model)" in str(caught[0])


def test_a_thread_may_nest_as_it_likes_while_others_use_other_models() -> None:
    models = [make() for _ in range(4)]

    def work(model: nn.Module) -> None:
        for _ in range(50):
            with training(model), inference(model), evaluating(model), training(model):
                assert all(flags(model))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, models))
    assert all(flags(model) == flags(make()) for model in models)


def test_a_generator_finished_by_another_thread() -> None:
    model = make()
    before = flags(model)

    def inside():
        with inference(model):
            yield

    running = inside()
    next(running)
    thread = threading.Thread(target=running.close)
    thread.start()
    thread.join()
    assert flags(model) == before
    assert torch.is_inference_mode_enabled()  # this thread's own, which the other cannot reach ...
    with inference(model):
        pass
    assert not torch.is_inference_mode_enabled()  # ... but this one does, the next time
