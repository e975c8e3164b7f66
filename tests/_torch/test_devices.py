"""The default device, also where it was set and taken back."""

import torch

import tinynets as tn
from tinynets._torch.state.devices import default_device
from tinynets._torch.state.global_flags import read_flags, write_flags


def test_the_default_device_is_the_cpu_again() -> None:
    before = read_flags()
    torch.set_default_device("meta")
    assert default_device().type == "meta"
    write_flags(before)
    assert default_device().type == "cpu"
    assert read_flags() == before
    with torch.device("meta"):
        assert default_device().type == "meta"


def test_a_model_is_built_after_the_default_device_was_taken_back() -> None:
    torch.set_default_device(None)
    assert tn.TinyVisionMLP().fc1.weight.device.type == "cpu"
