"""Many clients at once: right answers from shared batches, and a failure stays with its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import ModuleType

import pytest
import torch
from torch import Tensor

import tinynets as tn

from .client import PNG, WHOLE, ask, detail, pixels, png, running


def test_64_clients_get_what_one_would(serve: ModuleType, benchmark: ModuleType, model: tn.Module) -> None:
    asked = benchmark.questions(model, 100)
    modes: set[tuple[bool, ...]] = set()
    sizes: list[int] = []

    def spy(module: tn.Module, inputs: tuple[Tensor]) -> None:
        modes.add((torch.is_inference_mode_enabled(), *(part.training for part in module.modules())))
        sizes.append(len(inputs[0]))

    handle = model.register_forward_pre_hook(spy)
    model.train()
    try:
        with running(serve.application(model)) as (_, port):
            load = benchmark.load(port, asked, clients=64, requests=256, seconds=30)
    finally:
        handle.remove()
    assert len(load.answers) == 256
    assert load.wrong() == []
    assert modes == {(True, False, False, False)}
    assert max(sizes) > 8, "they shared batches"
    assert max(sizes) <= 64


def test_a_bad_image_fails_no_neighbour(port: int) -> None:
    bad = png(pixels(28, 28, 3), "RGB")
    with ThreadPoolExecutor(64) as clients:
        answers = list(clients.map(lambda body: ask(port, PNG, body), [WHOLE, bad] * 32))
    assert [status for status, _ in answers] == [200, 422] * 32
    assert {answer["detail"] for _, answer in answers[1::2]} == {detail(port, PNG, bad)}


@pytest.mark.parametrize(
    "spoil", [tn.training, lambda model: nullcontext(model.train())], ids=["block", "call"]
)
def test_a_model_in_train_mode_is_an_error_and_no_answer(port: int, model: tn.Module, caplog, spoil) -> None:
    assert ask(port, PNG, WHOLE)[0] == 200
    try:
        with spoil(model):  # someone else has the model, too
            assert ask(port, PNG, WHOLE) == (500, b"Internal Server Error")
    finally:
        model.eval()
    for _ in range(500):  # it is logged after it is answered
        if "ModeError" in caplog.text:
            break
        time.sleep(0.01)
    assert "ModeError: TinyVisionMLP called in train mode while torch.inference_mode() is on" in caplog.text
    assert ask(port, PNG, WHOLE)[0] == 200
