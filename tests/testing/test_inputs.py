"""Inputs: given, described by a shape, or told by annotations; drawn for any batch size in their range."""

import re

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

import tinynets as tn
from tinynets.inputs.draw import draw
from tinynets.inputs.examples import example_arguments
from tinynets.testing.options import Options
from tinynets.testing.suite import prepare

from .nets import Good


def drawn(model, *args, size=5, batch_axes="infer", limit=None, **kwargs):
    example = example_arguments(model, args, kwargs, batch_axes)
    return draw(example, size, torch.Generator().manual_seed(0), limit)


def test_annotations_tell_shape_batch_axis_and_dtype():
    class Words(tn.Module):
        width: int

        def __init__(self):
            super().__init__()
            self.width = 3
            self.embed = nn.Embedding(7, 3)

        def forward(
            self, tokens: Int[Tensor, "time batch"], scale: Float[Tensor, " width"]
        ) -> Float[Tensor, "time batch width"]:
            return self.embed(tokens) * scale

    made = drawn(Words(), limit=7)
    tokens, scale = made.tensors
    assert (tokens.dtype, scale.dtype) == (torch.int64, torch.float32)
    assert (tokens.shape[1], scale.shape) == (5, (3,))
    assert made.axes == (1, None)
    assert tokens.max() < 7
    assert len(tokens.unique()) > 2
    assert tn.testing.check_model(Words, groups=["runs"]).ok


def test_shapes_in_words_tell_the_batch_axis():
    assert drawn(Good(), "batch 6").axes == (0,)
    made = drawn(nn.LSTM(6, 3), "time=4 batch 6")
    assert (made.axes, made.tensors[0].shape) == ((1,), (4, 5, 6))
    assert drawn(Good(), "rows=8 6").axes == (None,)
    assert drawn(nn.Embedding(7, 3), "int64[batch 9]", limit=7).tensors[0].dtype == torch.int64


def test_the_first_axis_is_the_batch_of_every_tensor_that_is_as_long():
    x, mask, shared = torch.randn(3, 6), torch.ones(3, 2, dtype=torch.bool), torch.randn(2, 2)
    made = drawn(Good(), x, mask, shared)
    assert made.axes == (0, 0, None)
    assert [tuple(t.shape) for t in made.tensors] == [(5, 6), (5, 2), (2, 2)]
    assert torch.equal(made.tensors[2], shared)


def test_batch_axes_can_be_given():
    x = torch.randn(7, 3, 6)
    assert drawn(nn.LSTM(6, 3), x, batch_axes=1).tensors[0].shape == (7, 5, 6)
    assert drawn(Good(), x, batch_axes=-2).axes == (1,)
    with pytest.raises(TypeError, match="batch_axes names 2 axes for 1 tensors"):
        drawn(Good(), x, batch_axes=(0, 1))
    with pytest.raises(TypeError, match=re.escape("tensor 0 has shape [7, 3, 6] and no axis 3")):
        drawn(Good(), x, batch_axes=3)
    with pytest.raises(TypeError, match=re.escape("do not agree on the batch size: [3, 7]")):
        drawn(Good(), x, x, batch_axes=(0, 1))


def test_values_stay_in_the_range_of_the_example():
    probabilities = torch.rand(4, 9)
    made = drawn(Good(), probabilities).tensors[0]
    assert made.min() >= probabilities.min()
    assert made.max() <= probabilities.max()
    assert not torch.equal(made[:4], probabilities)
    indices = torch.tensor([[3, 8], [5, 5]])
    assert set(drawn(Good(), indices).tensors[0].flatten().tolist()) <= {3, 5, 8}
    mask = torch.tensor([[True, False], [True, True]])
    assert drawn(Good(), mask).tensors[0][:, 0].all(), "rows of masks are kept whole"
    assert drawn(Good(), torch.zeros(2, 6)).tensors[0].std() > 0.5, "a constant says nothing about the range"


def test_arguments_keep_structure_and_do_not_touch_the_example():
    x = torch.randn(2, 6)
    before = x.clone()
    made = drawn(Good(), {"image": x, "label": "cat"}, size=3)
    assert made.args[0]["label"] == "cat"
    assert made.args[0]["image"].shape == (3, 6)
    assert made.names == ["args[0]['image']"]
    assert torch.equal(x, before)


def test_a_sample_can_be_kept_and_the_others_replaced():
    ours, theirs = drawn(Good(), "batch 6"), drawn(Good(), "batch 6", size=5).map(lambda t: t + 1)
    mixed = ours.replace_others(2, theirs).tensors[0]
    assert torch.equal(mixed[2], ours.tensors[0][2])
    assert torch.equal(mixed[[0, 1, 3, 4]], theirs.tensors[0][[0, 1, 3, 4]])
    assert torch.equal(ours.rows([4, 0]).tensors[0], ours.tensors[0][[4, 0]])


def test_missing_inputs_and_other_objects_are_refused():
    expected = (
        "inputs are needed for Good: Good.forward does not say what shape 'x' has: pass a tensor or a"
        ' shape, as in check_model(model, "batch 3 32 32")'
    )
    with pytest.raises(TypeError, match=re.escape(expected)):
        tn.testing.check_model(Good)
    with pytest.raises(TypeError, match="or a class or function that makes one, got str"):
        tn.testing.check_model("resnet20")
    with pytest.raises(TypeError, match="the factory made a dict, not a torch.nn.Module"):
        tn.testing.check_model(dict)
    with pytest.raises(TypeError, match="the model has lazy layers: call it once"):
        tn.testing.check_model(nn.LazyLinear(3), "batch 6")


def test_inputs_given_as_shapes_are_drawn_from_the_seed_and_leave_the_generator_alone():
    def examples():
        subject, _ = prepare(Good, ("batch 6",), Options(seed=3))
        return subject.example.tensors[0], next(subject.model.parameters())

    before = torch.get_rng_state()
    first = examples()
    torch.manual_seed(1)
    second = examples()
    torch.manual_seed(2)
    assert torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(2).get_state())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.set_rng_state(before)


IDS = torch.randint(3, 50, (4, 6), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "given",
    [
        torch.ones(4, 6, dtype=torch.long),  # a mask that masks nothing
        torch.zeros(4, 6, dtype=torch.long),  # kinds of words
        torch.full((4,), 6),  # lengths
        torch.ones(4, 6),
    ],
)
def test_a_constant_beside_something_that_varies_stays_what_it_is(given):
    ids, other = drawn(Good(), IDS, given).tensors
    assert len(ids.unique()) > 5
    assert set(ids.flatten().tolist()) <= set(IDS.flatten().tolist())
    assert other.shape[0] == 5
    assert (other == given.flatten()[0]).all()
    assert other.dtype == given.dtype


@pytest.mark.parametrize("dtype", [torch.long, torch.float32, torch.bool])
def test_masks_of_numbers_stay_masks(dtype):
    mask = (torch.arange(6) < torch.tensor([6, 4, 3, 5])[:, None]).to(dtype)
    made = drawn(Good(), IDS, mask, size=40).tensors[1]
    assert {tuple(row) for row in made.tolist()} == {tuple(row) for row in mask.tolist()}


def test_additive_masks_positions_and_shared_rows_stay_whole():
    additive = torch.zeros(4, 6).masked_fill(
        torch.arange(6) >= torch.tensor([6, 4, 3, 5])[:, None], -torch.inf
    )
    positions = torch.arange(6).expand(4, 6)
    table = torch.randn(1, 6).expand(4, 6)
    _, *made = drawn(Good(), IDS, additive, positions, table).tensors
    assert {tuple(row) for row in made[0].tolist()} <= {tuple(row) for row in additive.tolist()}
    assert torch.equal(made[1], positions[:1].expand(5, 6))
    assert torch.equal(made[2], table[:1].expand(5, 6))


def test_lengths_stay_among_those_seen():
    lengths = drawn(Good(), IDS, torch.tensor([6, 4, 3, 5]), size=40).tensors[1]
    assert set(lengths.tolist()) == {3, 4, 5, 6}


def test_what_is_given_as_a_shape_is_drawn_beside_anything():
    words, image = drawn(Good(), "int64[4 6]", torch.randn(4, 3), limit=9).tensors
    assert len(words.unique()) > 4
    assert image.shape == (5, 3)


class MaskedMean(nn.Module):
    """Right, if the mask is one."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)

    def forward(self, ids, mask):
        assert ((mask == 0) | (mask == 1)).all()
        weights = mask[..., None].to(self.embed.weight.dtype)
        return (self.embed(ids) * weights).sum(1) / weights.sum(1)


def test_a_good_model_with_ids_and_a_mask_passes():
    report = tn.testing.check_model(MaskedMean, IDS, torch.ones(4, 6, dtype=torch.long), on_fail="collect")
    assert report.ok, str(report)
