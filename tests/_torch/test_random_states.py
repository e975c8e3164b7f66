"""Every source of random numbers is saved and put back: of each device in use, of Python, NumPy and the model."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tinynets._torch.state.random_states import (
    RandomStates,
    preserved_random_states,
    seed_all_but_torch,
    seed_everything,
    seeds_torch,
)


class Draws(nn.Module):
    def __init__(self):
        super().__init__()
        self.torch = torch.Generator().manual_seed(1)
        self.held = {"numpy": [np.random.default_rng(1)], "python": SimpleNamespace(random=random.Random(1))}
        self.legacy = np.random.RandomState(1)

    def forward(self):
        return (
            torch.rand(3, generator=self.torch).tolist(),
            self.held["numpy"][0].random(),
            self.held["python"].random.random(),
            self.legacy.rand(),
        )


def drawn():
    return torch.rand(3).tolist(), random.random(), np.random.rand()


SOURCES = {"torch": lambda: torch.rand(1), "python": random.random, "numpy": np.random.rand}


def test_everything_is_put_back_whatever_ends_the_block():
    model = Draws()
    with preserved_random_states(model):
        expected = drawn(), model()
    with pytest.raises(KeyError), preserved_random_states(model):
        raise KeyError(drawn(), model())
    assert (drawn(), model()) == expected


@pytest.mark.parametrize("source", SOURCES)
def test_the_source_that_moved_is_named(source):
    states = RandomStates()
    assert states.moved() == []
    SOURCES[source]()
    assert states.moved() == [source]
    assert states.moved_besides_torch() == [name for name in [source] if name != "torch"]
    states.restore()
    assert states.moved() == []


class Device:
    """An accelerator that counts what is done with its generators."""

    def __init__(self, in_use):
        self.in_use, self.states, self.seen = (
            in_use,
            [torch.zeros(2, dtype=torch.uint8) for _ in range(2)],
            [],
        )

    is_initialized = is_available = lambda self: self.in_use

    def get_rng_state_all(self):
        self.seen.append("read")
        return [state.clone() for state in self.states]

    def set_rng_state_all(self, states):
        self.states = [state.clone() for state in states]

    def get_rng_state(self):
        self.seen.append("read")
        return self.states[0].clone()

    def set_rng_state(self, state):
        self.states[0] = state.clone()


@pytest.mark.parametrize("name", ["cuda", "xpu", "mps"])
def test_a_device_in_use_is_put_back(monkeypatch, name):
    device = Device(in_use=True)
    monkeypatch.setattr(torch, name, device)
    states = RandomStates()
    device.states[0 if name == "mps" else 1][0] = 5
    assert states.moved() == ["torch"]
    states.restore()
    assert states.moved() == []
    assert all(not state.any() for state in device.states)


@pytest.mark.parametrize("name", ["cuda", "xpu", "mps"])
def test_a_device_that_is_not_in_use_is_not_started(monkeypatch, name):
    device = Device(in_use=False)
    monkeypatch.setattr(torch, name, device)
    states = RandomStates()
    device.in_use = True  # the model has started it
    assert states.moved() == []
    states.restore()
    assert device.seen == ["read"]


def test_seeding():
    seed_everything(3)
    first = drawn()
    seed_everything(3)
    assert drawn() == first
    model = Draws()
    seed_all_but_torch(model, 4)
    held = model()[1:]
    assert model()[1:] != held
    seed_all_but_torch(model, 4)
    assert model()[1:] == held
    with preserved_random_states():
        assert seeds_torch(lambda: torch.manual_seed(7))
        assert not seeds_torch(lambda: torch.rand(1))
