"""Many clients at once: right answers from shared batches, and a failure stays with its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

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


def test_a_model_in_train_mode_is_an_error_and_no_answer(port: int, model: tn.Module, caplog) -> None:
    assert ask(port, PNG, WHOLE)[0] == 200
    with tn.training(model):  # someone else has the model, too
        assert ask(port, PNG, WHOLE) == (500, b"Internal Server Error")
    for _ in range(500):  # it is logged after it is answered
        if "ModeError" in caplog.text:
            break
        time.sleep(0.01)
    assert "always computes in eval mode, but an open block holds TinyVisionMLP in train mode" in caplog.text
    assert ask(port, PNG, WHOLE)[0] == 200


def test_flags_that_someone_else_sets_change_no_answer(port: int, model: tn.Module) -> None:
    answer = ask(port, PNG, WHOLE)
    model.train()
    try:
        assert ask(port, PNG, WHOLE) == answer
    finally:
        model.eval()


def test_a_model_that_changes_answers_as_it_is_now(port: int, model: tn.Module) -> None:
    before = ask(port, PNG, WHOLE)
    weight = model.fc2.weight.data.clone()
    model.fc2.weight.data.zero_()
    try:
        assert ask(port, PNG, WHOLE) != before
    finally:
        model.fc2.weight.data.copy_(weight)
    assert ask(port, PNG, WHOLE) == before
