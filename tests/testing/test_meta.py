"""A model on the meta device has shapes and no values: what shapes can tell is checked, the rest says why not."""

import pytest
import torch

import tinynets as tn

from .nets import GIVEN, Good


class HardCoded(Good):
    def forward(self, x):
        return self.linear(x.reshape(4, 6))


def report(factory, *inputs):
    with torch.device("meta"):
        model = factory()
    found = tn.testing.check_model(model, *inputs, on_fail="collect")
    assert all(parameter.is_meta for parameter in model.parameters())
    return found


def test_shapes_are_checked_and_the_rest_is_skipped_with_the_reason():
    found = report(Good, GIVEN)
    ran = {result.id for result in found.with_status("passed")}
    assert {
        "runs.eval",
        "runs.train",
        "batch.sizes[1]",
        "modes.flags",
        "state.registered",
    } <= ran
    for result in found:
        assert result.status in ("passed", "skipped"), result.message
    expected = "the model is on the meta device: it has shapes and no values"
    assert found["batch.neighbour"].note == expected


def test_what_shapes_can_tell_is_flagged():
    found = report(HardCoded, torch.randn(4, 6))
    assert found["batch.sizes[3]"].status == "failed"
    assert found["runs.eval"].status == "passed"


@pytest.mark.slow
def test_annotations_tell_the_inputs_of_a_large_model_too():
    with torch.device("meta"):
        model = tn.models.SimpleViT(embed_dim=1024, num_heads=16, depth=4)
    assert tn.testing.check_model(model, groups=["runs", "batch"], on_fail="collect").ok
